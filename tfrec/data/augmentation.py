"""Data augmentation of retrieval training: crop, mask, shuffle among ties."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tfrec.data.store import EventSequences
from tfrec.data.windows import Targets, Windows
from tfrec.schema import OOV_INDEX

if TYPE_CHECKING:
    from tfrec.data.batches import BatchArrays


def crop_windows(
    windows: Windows,
    targets: Targets,
    *,
    share: float,
    min_length: float,
    rng: np.random.Generator,
) -> Windows:
    """Replaces some windows by a random contiguous part of them.

        length' = ceil(length u),  u uniform in [min_length, 1]

    and the place uniform among those possible. A part that does not begin its user's
    history does not ask for its first event, nor for those of the same basket; where
    nothing else is left to ask for, the window stays whole.

    Args:
        windows: What is learned in an epoch.
        targets: What each event is worth.
        share: Of the windows that are cropped, 0 to 1.
        min_length: Least share of a window that is kept, above 0.
        rng: Draws.

    References:
        - Xie et al., "Contrastive Learning for Sequential Recommendation", ICDE 2022,
          https://arxiv.org/abs/2010.14395 (crop, mask and reorder).
    """
    lengths = windows.lengths
    cropped = rng.random(len(lengths)) < share
    kept = np.ceil(lengths * rng.uniform(min_length, 1.0, len(lengths)))
    kept = np.clip(kept.astype(np.int64), 1, lengths)
    starts = windows.starts + rng.integers(0, lengths - kept + 1)
    stops = starts + kept
    opens = windows.opens & (starts == windows.starts)
    heads = np.arange(len(targets.weights)) - targets.query_offsets
    behind = np.searchsorted(heads, starts, side="right")  # The next basket.
    asked = np.minimum(np.where(opens, starts, behind), stops)
    before = np.concatenate([[0], np.cumsum(targets.weights > 0)])
    cropped &= before[stops] > before[asked]
    return Windows(
        np.where(cropped, starts, windows.starts),
        np.where(cropped, stops, windows.stops),
        np.where(cropped, opens, windows.opens),
    )


def shuffle_ties(sequences: EventSequences, rng: np.random.Generator) -> np.ndarray:
    """Returns int64 `[num_events]`: which event stands at which place instead.

    Events of the same user, time and split change places at random; those without a
    time (0) stay.
    """
    times, users, split = sequences.timestamps, sequences.user_rows, sequences.split
    tied = np.zeros(len(times), bool)  # With the event before.
    tied[1:] = (times[1:] == times[:-1]) & (times[1:] > 0)
    tied[1:] &= (users[1:] == users[:-1]) & (split[1:] == split[:-1])
    run = np.cumsum(~tied)
    places = np.flatnonzero(tied | np.append(tied[1:], False))
    order = np.arange(len(times), dtype=np.int64)
    order[places] = places[np.lexsort([rng.random(len(places)), run[places]])]
    return order


def reorder(sequences: EventSequences, order: np.ndarray) -> EventSequences:
    """Returns the sequences with event `order[j]` at place j; no user may lose any."""
    per_event = (
        "item_index",
        "event_type_index",
        "timestamps",
        "dwell_seconds",
        "session_index",
        "split",
        "query_text",
    )
    arrays = {name: getattr(sequences, name)[order] for name in per_event}
    context = {name: values[order] for name, values in sequences.context.items()}
    return dataclasses.replace(sequences, **arrays, context=context)


def hide_events(
    batch: "BatchArrays", share: float, rng: np.random.Generator
) -> "BatchArrays":
    """Makes item, type, dwell and search of some read events unknown; targets stay.

    A hidden event is one of an unknown item and type (index 1) at its own time.

    Args:
        batch: As it was laid out.
        share: Of the events that are hidden, 0 to 1.
        rng: Draws.
    """
    tokens = batch.tokens
    hidden = (tokens.item_index > 0) & (rng.random(tokens.item_index.shape) < share)
    tokens = tokens._replace(
        item_index=np.where(hidden, np.int32(OOV_INDEX), tokens.item_index),
        event_type_index=np.where(hidden, np.int32(OOV_INDEX), tokens.event_type_index),
        dwell_seconds=np.where(hidden, np.float32(0), tokens.dwell_seconds),
    )
    batch = batch._replace(tokens=tokens)
    if isinstance(batch.past_searches, tuple):
        return batch
    searches = np.where(hidden, np.int32(0), batch.past_searches)
    return batch._replace(past_searches=searches)
