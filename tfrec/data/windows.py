"""Training windows: which part of which history is one segment of a batch."""

from dataclasses import dataclass

import numpy as np

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.schema import OOV_INDEX, Schema


@dataclass(frozen=True)
class Windows:
    """Stretches of events that are learned together.

    The tokens of a window are the start token and the events
    `starts[w]:stops[w] - 1`; the targets are its events `starts[w]:stops[w]`.

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
        offsets = _places_in_basket(sequences)
    return Targets(weights, offsets)


def _places_in_basket(sequences: EventSequences) -> np.ndarray:
    """Returns how many events of the same user and time stand before each event."""
    number = np.arange(len(sequences.item_index), dtype=np.int64)
    begins = np.ones(len(number), bool)
    same_time = sequences.timestamps[1:] == sequences.timestamps[:-1]
    same_user = sequences.user_rows[1:] == sequences.user_rows[:-1]
    begins[1:] = ~(same_time & same_user)
    first = np.maximum.accumulate(np.where(begins, number, 0))
    return (number - first).astype(np.int32)


def cut_windows(
    sequences: EventSequences,
    targets: Targets,
    max_length: int,
    *,
    rng: np.random.Generator,
) -> Windows:
    """Cuts every user's events into windows of at most `max_length`.

    Where a history is longer, the cuts shift at random from epoch to epoch, so
    that an event is learned with different amounts of history. Events behind a
    user's last target are left out, and windows without a target.
    """
    is_target = targets.weights > 0
    number = np.arange(len(is_target), dtype=np.int64)
    ends = np.zeros(sequences.num_users, np.int64)
    np.maximum.at(ends, sequences.user_rows[is_target], number[is_target] + 1)
    begins = sequences.offsets[:-1]
    lengths = np.maximum(ends - begins, 0)
    long = lengths > max_length
    # The first window of a long history is shortened by a random amount.
    first = np.where(long, rng.integers(1, max_length + 1, len(lengths)), max_length)
    rest = np.maximum(lengths - first, 0)
    counts = np.where(lengths > 0, 1 + -(-rest // max_length), 0)
    user = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    shift = np.where(place > 0, first[user] + (place - 1) * max_length, 0)
    starts = begins[user] + shift
    width = np.where(place > 0, max_length, first[user])
    stops = np.minimum(starts + width, ends[user])
    before = np.concatenate([[0], np.cumsum(is_target)])
    useful = before[stops] > before[starts]
    return Windows(starts[useful], stops[useful], (place == 0)[useful])
