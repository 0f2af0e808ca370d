"""Training batches for retrieval: windows laid into rows, packed or bucketed."""

import copy
from collections.abc import Iterator
from typing import Literal, NamedTuple, Self

import numpy as np

from tfrec.augmentation_config import AugmentationConfig
from tfrec.data.augmentation import (
    crop_windows,
    hide_events,
    reorder,
    shuffle_ties,
)
from tfrec.data.store import EventSequences
from tfrec.data.views import ViewDrawer
from tfrec.data.windows import (
    Targets,
    Windows,
    cut_windows,
    is_learned,
    learned_events,
)


class TokenArrays(NamedTuple):
    """The numpy twin of `tfrec.features.tokens.Tokens`, `[num_rows, num_tokens]`."""

    item_index: np.ndarray
    event_type_index: np.ndarray
    timestamps: np.ndarray
    dwell_seconds: np.ndarray
    next_timestamps: np.ndarray
    positions: np.ndarray
    segment_ids: np.ndarray


class BatchArrays(NamedTuple):
    """The numpy twin of `tfrec.models.retrieval_model.RetrievalBatch`."""

    tokens: TokenArrays
    target_tokens: np.ndarray
    target_items: np.ndarray
    target_weights: np.ndarray
    target_context: dict[str, np.ndarray]
    target_search: np.ndarray | tuple[()] = ()
    target_history: np.ndarray | tuple[()] = ()
    past_searches: np.ndarray | tuple[()] = ()
    views: "BatchArrays | tuple[()]" = ()


class Layout(NamedTuple):
    """Where windows stand: window w at `columns[w]` of row `rows[w]`."""

    num_rows: int
    num_tokens: int
    rows: np.ndarray
    columns: np.ndarray
    segments: np.ndarray


class BatchBuilder:
    """Gives the batches of an epoch, the same for the same seed and epoch.

    `bucketed`: windows of like length share a batch, one a row; `packed`: rows
    of `max_length` tokens, filled with several windows each, told apart by
    their segment ids. Both keep padding at a few per cent.

    Args:
        sequences: The events.
        targets: What each event is worth as a target.
        max_length: Tokens of a window at most.
        batch_tokens: Tokens of a batch, about.
        batching: `packed` or `bucketed`.
        seed: Of the order, and of where long histories are cut.
        search_rows: int32 `[num_events]`, which search led to each event, 0 for
            none; None where no search is learned from.
        history_rows: int32 `[num_events]`, the text of what was seen before each
            event, 0 for none; None where that is not read.
        past_search_rows: int32 `[num_events]`, the search that an event is, 0 for
            events with an item; None where all have one.
        view_drawer: Draws the histories that a regulariser compares; None for none.
        augmentation: How histories vary from epoch to epoch; None: not at all.
    """

    def __init__(
        self,
        sequences: EventSequences,
        targets: Targets,
        *,
        max_length: int,
        batch_tokens: int,
        batching: Literal["packed", "bucketed"],
        seed: int,
        search_rows: np.ndarray | None = None,
        history_rows: np.ndarray | None = None,
        past_search_rows: np.ndarray | None = None,
        view_drawer: ViewDrawer | None = None,
        augmentation: AugmentationConfig | None = None,
    ) -> None:
        self.sequences = sequences
        self.targets = targets
        self.max_length = max_length
        self.batch_tokens = max(batch_tokens, max_length)
        self.batching = batching
        self.seed = seed
        self.search_rows = search_rows
        self.history_rows = history_rows
        self.past_search_rows = past_search_rows
        self.view_drawer = view_drawer
        self.augmentation = augmentation or AugmentationConfig()

    def epoch(self, number: int) -> Iterator[BatchArrays]:
        """Yields the batches of epoch `number`, counted from 0."""
        source, windows, rng = self._begin(number)
        for rows, layout in source._layouts(windows, rng):
            own = windows.take(rows)
            batch = source._fill(own, layout, rng)
            if self.augmentation.mask_share:
                batch = hide_events(batch, self.augmentation.mask_share, rng)
            if self.view_drawer is not None:
                # Views are of the log as it is: no event is hidden or moved there.
                batch = batch._replace(views=self._views(self.view_drawer, own, rng))
            yield batch

    def num_batches(self, number: int = 0) -> int:
        """Returns how many batches epoch `number` has."""
        source, windows, rng = self._begin(number)
        return len(source._layouts(windows, rng))

    def _begin(self, number: int) -> tuple[Self, Windows, np.random.Generator]:
        """Returns the builder of the epoch's own order of events, and its windows."""
        rng = np.random.default_rng([self.seed, number])
        source = self._shuffled(rng) if self.augmentation.shuffle_ties else self
        windows = cut_windows(
            source.sequences, source.targets, self.max_length, rng=rng
        )
        if self.augmentation.crop_share:
            windows = crop_windows(
                windows,
                source.targets,
                share=self.augmentation.crop_share,
                min_length=self.augmentation.crop_min_length,
                rng=rng,
            )
        return source, windows, rng

    def _shuffled(self, rng: np.random.Generator) -> Self:
        order = shuffle_ties(self.sequences, rng)

        def moved(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[order]

        source = copy.copy(self)
        source.sequences = reorder(self.sequences, order)
        # A basket keeps its place, whichever of its events stands first.
        weights = self.targets.weights[order]
        source.targets = Targets(weights, self.targets.query_offsets)
        source.search_rows = moved(self.search_rows)
        source.history_rows = moved(self.history_rows)
        source.past_search_rows = moved(self.past_search_rows)
        return source

    def _layouts(
        self, windows: Windows, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, Layout]]:
        if self.batching == "packed":
            layouts = self._pack(windows.lengths, rng)
        else:
            layouts = self._bucket(windows.lengths, rng)
        return [layouts[i] for i in rng.permutation(len(layouts))]

    def _bucket(
        self, lengths: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, Layout]]:
        # A random order among equals, so that batches differ between epochs.
        order = np.lexsort([rng.random(len(lengths)), lengths])
        layouts = []
        stop = len(order)
        while stop > 0:  # From the longest down: a batch is as wide as its longest.
            width = int(lengths[order[stop - 1]])
            start = max(stop - max(self.batch_tokens // width, 1), 0)
            rows = order[start:stop]
            zeros = np.zeros(len(rows), np.int64)
            places = np.arange(len(rows))
            layout = Layout(len(rows), width, places, zeros, zeros + 1)
            layouts.append((rows, layout))
            stop = start
        return layouts

    def _pack(
        self, lengths: np.ndarray, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, Layout]]:
        row, column, segment = _pack_rows(
            lengths, self.max_length, rng.permutation(len(lengths))
        )
        rows_per_batch = self.batch_tokens // self.max_length
        shuffled = rng.permutation(row.max(initial=-1) + 1)[row]
        batch = shuffled // rows_per_batch
        order = np.argsort(batch, kind="stable")
        cuts = np.flatnonzero(np.diff(batch[order])) + 1
        layouts = []
        for members in np.split(order, cuts) if len(order) else []:
            places = np.unique(shuffled[members], return_inverse=True)[1]
            layout = Layout(
                int(places.max()) + 1,
                self.max_length,
                places,
                column[members],
                segment[members],
            )
            layouts.append((members, layout))
        return layouts

    def _fill(
        self, windows: Windows, layout: Layout, rng: np.random.Generator
    ) -> BatchArrays:
        """Lays windows out; `rng` is for builders that draw what they ask for."""
        lengths = windows.lengths
        window = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(window)) - np.repeat(
            np.cumsum(lengths) - lengths, lengths
        )
        cell = layout.rows[window] * layout.num_tokens + layout.columns[window]
        cell = cell + position  # Place of each token in the flattened batch.
        target = windows.starts[window] + position  # The event behind the token.
        event = target - 1  # The event of the token itself; none at position 0.
        is_event = position > 0
        shape = (layout.num_rows, layout.num_tokens)

        def lay(values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
            grid = np.zeros(shape, values.dtype)
            flat = grid.reshape(-1)
            if where is None:
                flat[cell] = values
            else:
                flat[cell[where]] = values[where]
            return grid

        s = self.sequences
        tokens = TokenArrays(
            lay(s.item_index[event], is_event),
            lay(s.event_type_index[event], is_event),
            lay(s.timestamps[event], is_event),
            lay(s.dwell_seconds[event], is_event),
            lay(s.timestamps[target]),
            lay(position.astype(np.int32)),
            lay(layout.segments[window].astype(np.int32)),
        )
        learned = is_learned(windows, self.targets, window, position)
        batch = self._with_targets(tokens, learned, position, cell, target)
        if self.past_search_rows is None:
            return batch
        searches = lay(self.past_search_rows[event], is_event)
        return batch._replace(past_searches=searches)

    def _with_targets(
        self,
        tokens: TokenArrays,
        learned: np.ndarray,
        position: np.ndarray,
        cell: np.ndarray,
        target: np.ndarray,
    ) -> BatchArrays:
        offset = np.minimum(self.targets.query_offsets[target], position)
        chosen = target[learned]
        return self._ask(tokens, (cell - offset)[learned], chosen)

    def _ask(
        self, tokens: TokenArrays, places: np.ndarray, events: np.ndarray
    ) -> BatchArrays:
        """Returns the batch that asks for events at places of the flattened tokens."""
        return BatchArrays(
            tokens,
            places.astype(np.int32),
            self.sequences.item_index[events],
            self.targets.weights[events],
            {k: v[events] for k, v in self.sequences.context.items()},
            () if self.search_rows is None else self.search_rows[events],
            () if self.history_rows is None else self.history_rows[events],
        )

    def _views(
        self, drawer: ViewDrawer, windows: Windows, rng: np.random.Generator
    ) -> BatchArrays:
        """Returns drawn views as a batch of its own, packed, one target each.

        Weights are those of the targets, 0 where a view was not found.
        """
        of_window, events = learned_events(windows, self.targets)
        views = drawer.draw(windows, of_window, events, rng)
        lengths = views.windows.lengths
        width = int(lengths.max())
        row, column, segment = _pack_rows(lengths, width, np.arange(len(lengths)))
        layout = Layout(int(row.max()) + 1, width, row, column, segment)
        filled = self._fill(views.windows, layout, rng)
        asked = self._ask(
            filled.tokens, row * width + column + lengths - 1, views.events
        )
        return asked._replace(
            target_weights=np.where(views.found, asked.target_weights, np.float32(0)),
            past_searches=filled.past_searches,
        )


def _pack_rows(
    lengths: np.ndarray, width: int, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places windows into rows, first the long ones, each where it fits best.

    Returns the row, the column and the segment id (from 1) of each window. Rows
    with the same room left are interchangeable, so one stack per room is
    enough: the cost is windows x widths at worst, not windows x rows.
    """
    row = np.zeros(len(lengths), np.int64)
    column = np.zeros(len(lengths), np.int64)
    segment = np.zeros(len(lengths), np.int64)
    stacks: list[list[int]] = [[] for _ in range(width + 1)]
    count: list[int] = []
    by_length = order[np.argsort(-lengths[order], kind="stable")]
    for window in by_length:
        length = int(lengths[window])
        room = length
        while room <= width and not stacks[room]:
            room += 1
        if room > width:
            place, room = len(count), width
            count.append(0)
        else:
            place = stacks[room].pop()
        count[place] += 1
        row[window], column[window] = place, width - room
        segment[window] = count[place]
        if room > length:
            stacks[room - length].append(place)
    return row, column, segment
