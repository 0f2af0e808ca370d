"""Cloze batches: histories with gaps that are asked for (BERT4Rec)."""

from typing import Any, NamedTuple

import numpy as np

from tfrec.data.batches import BatchArrays, BatchBuilder, Layout, TokenArrays
from tfrec.data.store import EventSequences
from tfrec.data.windows import Targets, Windows


class WindowEvents(NamedTuple):
    """The events of some windows, one behind the other.

    Attributes:
        window: int64 `[num_events]`, from 0, ascending; every window has an event.
        item_index: int32 `[num_events]`.
        head: int64 `[num_events]`, where the first event of its basket stands in
            these arrays; its own place where it is in none.
        is_target: bool `[num_events]`, whether it may be asked for.
    """

    window: np.ndarray
    item_index: np.ndarray
    head: np.ndarray
    is_target: np.ndarray


class Gaps(NamedTuple):
    """What a Cloze batch does not show.

    Attributes:
        is_mask: bool `[num_events]`, a mask stands in the event's place.
        is_hidden: bool `[num_events]`, nothing stands in the event's place.
        is_asked: bool `[num_events]`, it is asked for, at the mask of its basket.
    """

    is_mask: np.ndarray
    is_hidden: np.ndarray
    is_asked: np.ndarray


def draw_gaps(
    events: WindowEvents,
    *,
    mask_share: float,
    last_share: float,
    rng: np.random.Generator,
) -> Gaps:
    """Draws which events are masked.

    In a share `last_share` of the windows the last target is, and what follows it
    is hidden: so a request looks. In the others each target is with probability
    `mask_share`, and at least one. A basket is masked as a whole, by one mask.

    Later events of a masked item are hidden: where one item is viewed, carted and
    bought, they would give the answer away. Earlier ones stay, as in serving.
    """
    place = np.arange(len(events.window))
    is_head = events.head == place
    has_target = np.zeros(len(place), bool)
    has_target[events.head[events.is_target]] = True
    begins = np.flatnonzero(np.diff(events.window, prepend=-1))
    draws = np.where(has_target, rng.random(len(place)), np.inf)
    least = np.minimum.reduceat(draws, begins)
    chosen = has_target & (draws <= np.maximum(mask_share, least)[events.window])
    last = np.maximum.reduceat(np.where(has_target, place, -1), begins)[events.window]
    at_the_end = (rng.random(len(begins)) < last_share)[events.window] & (last >= 0)
    chosen = np.where(at_the_end, place == last, chosen)
    is_gap = chosen[events.head]
    is_hidden = (is_gap & ~is_head) | (at_the_end & (place > last))
    is_hidden |= ~is_gap & _follows_itself(events, is_gap & events.is_target)
    return Gaps(is_gap & is_head, is_hidden, is_gap & events.is_target)


def _follows_itself(events: WindowEvents, is_asked: np.ndarray) -> np.ndarray:
    """Returns bool: the item is asked for earlier in the window."""
    place = np.arange(len(is_asked))
    width = int(events.item_index.max(initial=0)) + 1
    keys = events.window * width + events.item_index
    numbers = np.unique(keys, return_inverse=True)[1]
    first = np.full(len(place), len(place))
    np.minimum.at(first, numbers[is_asked], place[is_asked])
    return place > first[numbers]


class ClozeBatchBuilder(BatchBuilder):
    """Batches whose tokens are events and masks instead of a start token and events.

    A window `starts[w]:stops[w]` is laid out with all its events, the last included.
    A mask has no item, event type, dwell, search or time of its own (all 0); its
    `next_timestamps` is when the masked event happened, which is the time of the
    request in serving. Places count from 1. What is hidden is padding.

    Args:
        sequences: The events.
        targets: What each event is worth as a target.
        mask_share: Targets of a window that are masked, see `draw_gaps`.
        last_share: Windows of which only the last target is masked.
        **settings: Those of `BatchBuilder`.

    References:
        - Sun et al., "BERT4Rec", CIKM 2019, https://arxiv.org/abs/1904.06690.
    """

    def __init__(
        self,
        sequences: EventSequences,
        targets: Targets,
        *,
        mask_share: float,
        last_share: float,
        **settings: Any,
    ) -> None:
        super().__init__(sequences, targets, **settings)
        self.mask_share = mask_share
        self.last_share = last_share

    def _fill(
        self, windows: Windows, layout: Layout, rng: np.random.Generator
    ) -> BatchArrays:
        lengths = windows.lengths
        window = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(window))
        position = place - (np.cumsum(lengths) - lengths)[window]
        cell = layout.rows[window] * layout.num_tokens + layout.columns[window]
        cell = cell + position
        event = windows.starts[window] + position
        offset = np.minimum(self.targets.query_offsets[event], position)
        # What a window begins with behind a cut is asked for by the one before.
        is_target = self.targets.weights[event] > 0
        is_target &= windows.opens[window] | (position > offset)
        gaps = draw_gaps(
            WindowEvents(
                window, self.sequences.item_index[event], place - offset, is_target
            ),
            mask_share=self.mask_share,
            last_share=self.last_share,
            rng=rng,
        )
        segments = layout.segments[window]
        grid = _Grid((layout.num_rows, layout.num_tokens), cell, event, gaps)
        batch = self._with_gaps(grid, (cell - offset)[gaps.is_asked])
        tokens = batch.tokens._replace(
            next_timestamps=grid.shown_at(self._next_times(window, event, gaps)),
            positions=grid.shown_at((position + 1).astype(np.int32)),
            segment_ids=grid.shown_at(segments.astype(np.int32)),
        )
        return batch._replace(tokens=tokens)

    def _next_times(
        self, window: np.ndarray, event: np.ndarray, gaps: Gaps
    ) -> np.ndarray:
        """When the next event of the window happens; of a mask, its own event."""
        times = self.sequences.timestamps[event]
        same = np.append(window[1:] == window[:-1], False)
        following = np.where(same, np.append(times[1:], 0), 0)
        return np.where(gaps.is_mask, times, following)

    def _with_gaps(self, grid: "_Grid", target_tokens: np.ndarray) -> BatchArrays:
        s, chosen = self.sequences, grid.event[grid.gaps.is_asked]
        nothing = np.zeros(0, np.int32)
        tokens = TokenArrays(
            grid.read(s.item_index),
            grid.read(s.event_type_index),
            grid.read(s.timestamps),
            grid.read(s.dwell_seconds),
            *(nothing,) * 3,
        )
        past = self.past_search_rows
        return BatchArrays(
            tokens,
            target_tokens.astype(np.int32),
            s.item_index[chosen],
            self.targets.weights[chosen],
            {name: values[chosen] for name, values in s.context.items()},
            () if self.search_rows is None else self.search_rows[chosen],
            () if self.history_rows is None else self.history_rows[chosen],
            () if past is None else grid.read(past),
        )


class _Grid(NamedTuple):
    """Where the events of a batch stand."""

    shape: tuple[int, int]
    cell: np.ndarray
    event: np.ndarray
    gaps: Gaps

    def read(self, values: np.ndarray) -> np.ndarray:
        """Lays out values per event of the log; 0 at masks and where hidden."""
        shown = ~(self.gaps.is_mask | self.gaps.is_hidden)
        return self._lay(values[self.event], shown)

    def shown_at(self, values: np.ndarray) -> np.ndarray:
        """Lays out values per event of the batch; 0 where hidden."""
        return self._lay(values, ~self.gaps.is_hidden)

    def _lay(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        grid = np.zeros(self.shape, values.dtype)
        grid.reshape(-1)[self.cell[where]] = values[where]
        return grid
