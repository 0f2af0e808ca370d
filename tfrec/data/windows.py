"""Training windows: which part of which history is one segment of a batch."""

from dataclasses import dataclass

import numpy as np

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.schema import OOV_INDEX, Schema

BASKET_SHARE = 0.5  # Of training events; from here on a log consists of baskets.


@dataclass(frozen=True)
class Windows:
    """Stretches of events that are learned together.

    The tokens of a window are the start token and the events
    `starts[w]:stops[w] - 1`; the targets are its events `starts[w]:stops[w]`, but
    for the first where the window does not open a history: what came before it
    is not in the window, and the window before asks for it.

    Attributes:
        starts: int64 `[num_windows]`, absolute event numbers.
        stops: int64 `[num_windows]`.
        opens: bool `[num_windows]`, whether the window begins its user's
            history, so that the start token really knows of nothing before.
    """

    starts: np.ndarray
    stops: np.ndarray
    opens: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[num_windows]`: tokens, or events, per window."""
        return self.stops - self.starts

    def take(self, rows: np.ndarray) -> "Windows":
        """Returns some of the windows."""
        return Windows(self.starts[rows], self.stops[rows], self.opens[rows])


@dataclass(frozen=True)
class Targets:
    """What each event is worth as a target.

    Attributes:
        weights: float32 `[num_events]`; 0 where the event is no target.
        query_offsets: int32 `[num_events]`, how many events before the target
            its query may not see: 0, or more within a basket.
    """

    weights: np.ndarray
    query_offsets: np.ndarray


def find_targets(
    sequences: EventSequences,
    schema: Schema,
    *,
    splits: tuple[str, ...] = ("train",),
    recency_half_life_days: float | None = None,
    simultaneous_unordered: bool = False,
) -> Targets:
    """Weighs every event as a training target.

        weight = 2 ** (-age / half_life), age counted from the newest target

    scaled to a mean of 1. Events of other splits, of types that are no target
    and of items outside the catalogue get 0.
    """
    types = [schema.event_type_index(t) for t in schema.target_event_types]
    is_target = np.isin(sequences.split, [SPLIT_INDEX[s] for s in splits])
    is_target &= np.isin(sequences.event_type_index, types)
    is_target &= sequences.item_index > OOV_INDEX
    weights = is_target.astype(np.float32)
    if recency_half_life_days is not None and is_target.any():
        age = sequences.timestamps[is_target].max() - sequences.timestamps
        decay = np.exp2(-np.maximum(age, 0) / (recency_half_life_days * 86_400.0))
        weights *= decay.astype(np.float32)
        weights /= weights[is_target].mean()
    offsets = np.zeros(len(weights), np.int32)
    if simultaneous_unordered:
        offsets = places_in_basket(sequences)
    return Targets(weights, offsets)


def places_in_basket(sequences: EventSequences) -> np.ndarray:
    """Returns how many events of the same user and time stand before each event."""
    number = np.arange(len(sequences.item_index), dtype=np.int64)
    begins = np.ones(len(number), bool)
    same_time = sequences.timestamps[1:] == sequences.timestamps[:-1]
    same_user = sequences.user_rows[1:] == sequences.user_rows[:-1]
    begins[1:] = ~(same_time & same_user)
    first = np.maximum.accumulate(np.where(begins, number, 0))
    return (number - first).astype(np.int32)


def has_baskets(sequences: EventSequences) -> bool:
    """Whether most training events have the time of the same user's event before.

    Then a log holds baskets, or days, not an order of events.
    """
    is_training = sequences.split == SPLIT_INDEX["train"]
    is_later = places_in_basket(sequences)[is_training] > 0
    return bool(is_later.size) and float(is_later.mean()) >= BASKET_SHARE


def cut_windows(
    sequences: EventSequences,
    targets: Targets,
    max_length: int,
    *,
    rng: np.random.Generator,
) -> Windows:
    """Cuts every user's events into windows of at most `max_length`.

    Where a history is longer, the cuts shift at random from epoch to epoch, so
    that an event is learned with different amounts of history. The next window
    begins one event before the cut: that event is read but not asked for again,
    so every target is asked for exactly once. Cuts fall between baskets. Of a
    basket longer than a window the end is left out: its query would stand before
    the basket. Left out are also events behind a user's last target, and windows
    without a target.
    """
    is_target = targets.weights > 0
    number = np.arange(len(is_target), dtype=np.int64)
    ends = np.zeros(sequences.num_users, np.int64)
    np.maximum.at(ends, sequences.user_rows[is_target], number[is_target] + 1)
    users = np.flatnonzero(ends > sequences.offsets[:-1])
    starts, end = sequences.offsets[users], ends[users]
    baskets = (number - targets.query_offsets, _basket_ends(targets.query_offsets))
    # The first window of a long history is shortened by a random amount.
    width = rng.integers(min(2, max_length), max_length + 1, len(users))
    width = np.where(end - starts > max_length, width, max_length)
    asked = starts  # The first event of each window that is asked for.
    rounds = []
    while len(starts):
        limit = np.minimum(starts + max_length, end)
        wanted = np.minimum(starts + width, limit)
        begin, behind = (edges[wanted - 1] for edges in baskets)
        # Back to where the cut basket begins, or else on as far as it goes.
        moved = np.where(begin > asked, begin, np.minimum(behind, limit))
        stops = np.where(np.minimum(behind, end) > wanted, moved, wanted)
        rounds.append((starts, stops, asked))
        asked = np.maximum(stops, baskets[1][stops - 1])
        going = (asked < end) & (max_length > 1)
        asked, end = asked[going], end[going]
        starts, width = asked - 1, np.full(len(asked), max_length)
    return _with_targets(rounds, is_target)


def is_learned(
    windows: Windows, targets: Targets, window: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """Returns bool, which places of windows are asked for.

    A start token within a history does not know what came before, so it is no query.

    Args:
        windows: Some windows.
        targets: What each event is worth as a target.
        window: int64 `[num_places]`, which of the windows.
        position: int64 `[num_places]`, place within it.
    """
    event = windows.starts[window] + position
    offset = np.minimum(targets.query_offsets[event], position)
    return (targets.weights[event] > 0) & (windows.opens[window] | (position > offset))


def learned_events(windows: Windows, targets: Targets) -> tuple[np.ndarray, np.ndarray]:
    """Returns the window and the event of every target, window by window."""
    lengths = windows.lengths
    window = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    position = np.arange(len(window)) - first[window]
    learned = is_learned(windows, targets, window, position)
    return window[learned], (windows.starts[window] + position)[learned]


def _basket_ends(query_offsets: np.ndarray) -> np.ndarray:
    """Returns per event the first event behind its basket."""
    number = np.arange(len(query_offsets), dtype=np.int64)
    begins = np.where(query_offsets == 0, number, len(number))
    following = np.minimum.accumulate(begins[::-1])[::-1]
    return np.append(following, len(number))[1:]


def _with_targets(
    rounds: list[tuple[np.ndarray, np.ndarray, np.ndarray]], is_target: np.ndarray
) -> Windows:
    if not rounds:
        none = np.zeros(0, np.int64)
        return Windows(none, none, none.astype(bool))
    starts, stops, asked = (np.concatenate(part) for part in zip(*rounds, strict=True))
    before = np.concatenate([[0], np.cumsum(is_target)])
    useful = before[stops] > before[asked]
    return Windows(starts, stops, starts == asked).take(useful)
