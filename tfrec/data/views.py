"""Views: histories that the regularisers of retrieval compare with one another."""

from typing import Literal, NamedTuple

import numpy as np

from tfrec.data.store import EventSequences
from tfrec.data.windows import Targets, Windows
from tfrec.regulariser_config import RegulariserName

# `own`: the history itself; `same_target`: another one that the same item followed.
ViewKind = Literal["own", "same_target"]


def view_kinds(regulariser: RegulariserName, share: float) -> tuple[ViewKind, ...]:
    """Returns what a regulariser reads of every drawn history.

    Args:
        regulariser: `retrieval.regulariser`.
        share: `retrieval.regulariser_share`: of 0 and 1 one term is left out, and
            DuoRec then needs one view less.
    """
    if regulariser == "none":
        return ()
    if regulariser == "icsrec" or share == 1.0:
        return ("own", "same_target")
    return ("own", "own") if share == 0.0 else ("own", "own", "same_target")


class DrawnViews(NamedTuple):
    """Views of a step: all of the first kind, then all of the second, and so on.

    Attributes:
        windows: The events that each view reads: the last token is its query.
        events: int64 `[num_views]`, the target of each view.
        found: bool `[num_views]`, False where no other history has this target; the
            view is then the history itself.
    """

    windows: Windows
    events: np.ndarray
    found: np.ndarray


class ViewDrawer:
    """Draws one target of each window of a batch, and its views.

    Of the same target: an event of the same item in the history of another user,
    each such event as likely as any other, with what that user did before it.

    Args:
        sequences: The events.
        targets: What each event is worth as a target; others are never drawn.
        kinds: See `view_kinds`.
        max_length: Tokens of a view at most.
        max_queries: Windows of a batch that are drawn from at most.
    """

    def __init__(
        self,
        sequences: EventSequences,
        targets: Targets,
        *,
        kinds: tuple[ViewKind, ...],
        max_length: int,
        max_queries: int,
    ) -> None:
        self.kinds = kinds
        self.max_length = max_length
        self.max_queries = max_queries
        self.query_offsets = targets.query_offsets
        self.user_starts = sequences.offsets[:-1][sequences.user_rows]
        usable = np.flatnonzero(targets.weights > 0)
        item, user = sequences.item_index[usable], sequences.user_rows[usable]
        order = np.lexsort([user, item])
        self._by_item = usable[order]
        item, user = item[order], user[order]
        # Where events of the same item, and of item and user, stand in `_by_item`.
        place = np.zeros(len(targets.weights), np.int64)
        place[self._by_item] = np.arange(len(order))
        self._place = place
        self._item_runs = _runs(item)
        self._user_runs = _runs(item, user)

    def draw(
        self,
        windows: Windows,
        of_window: np.ndarray,
        events: np.ndarray,
        rng: np.random.Generator,
    ) -> DrawnViews:
        """Draws the views of a batch.

        Args:
            windows: Those of the batch.
            of_window: int64 `[num_targets]`, the window of each target of the batch.
            events: int64 `[num_targets]`, the targets.
            rng: What draws.
        """
        order = np.lexsort([rng.random(len(events)), of_window])
        first = np.unique(of_window[order], return_index=True)[1]
        drawn = rng.permutation(order[first])[: self.max_queries]
        own, starts = events[drawn], windows.starts[of_window[drawn]]
        views = []
        for kind in self.kinds:
            if kind == "own":
                views.append((own, starts, np.ones(len(own), bool)))
            else:
                views.append(self._same_target(own, starts, rng))
        chosen, begin, found = (
            np.concatenate(part) for part in zip(*views, strict=True)
        )
        # A basket-mate before the target is not read.
        stops = chosen - self.query_offsets[chosen] + 1
        stops = np.maximum(stops, begin + 1)
        opens = begin == self.user_starts[chosen]
        return DrawnViews(Windows(begin, stops, opens), chosen, found)

    def _same_target(
        self, events: np.ndarray, starts: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns another event for each, where its history begins, and if there is."""
        place = self._place[events]
        low, high = (side[place] for side in self._item_runs)
        own_low, own_high = (side[place] for side in self._user_runs)
        others = (high - low) - (own_high - own_low)
        found = others > 0
        step = low + rng.integers(0, np.maximum(others, 1))
        step += np.where(step >= own_low, own_high - own_low, 0)
        other = self._by_item[np.where(found, step, place)]
        behind = other - self.query_offsets[other] + 1
        begin = np.maximum(self.user_starts[other], behind - self.max_length)
        return other, np.where(found, begin, starts), found


def _runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns, per row of sorted keys, where rows like it begin and stop."""
    number = np.arange(len(keys[0]))
    changes = np.zeros(max(len(number) - 1, 0), bool)
    for key in keys:
        changes |= key[1:] != key[:-1]
    edges = np.flatnonzero(changes) + 1
    starts = np.concatenate([[0], edges])
    stops = np.concatenate([edges, [len(number)]])
    run = np.searchsorted(edges, number, side="right")
    return starts[run], stops[run]
