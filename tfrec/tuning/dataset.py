"""A prepared dataset as trials see it: the test split is not there."""

from dataclasses import replace

import numpy as np

from tfrec.data.store import TEST, EventSequences, Impressions, PreparedDataset
from tfrec.evaluation.protocols import ragged_ranges


class DatasetWithoutTest(PreparedDataset):
    """Leaves out all events and impressions of the test split.

    Users stay, also those without any other event, so that their rows, and what is
    drawn by them, are those of the whole dataset: a trial trains exactly as a run.
    """

    def load_sequences(self, *, shard: int = 0, num_shards: int = 1) -> EventSequences:
        """Reads the events of training and validation."""
        sequences = super().load_sequences(shard=shard, num_shards=num_shards)
        kept = sequences.split != TEST
        counts = np.bincount(sequences.user_rows[kept], minlength=sequences.num_users)
        return replace(
            sequences,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item_index=sequences.item_index[kept],
            event_type_index=sequences.event_type_index[kept],
            timestamps=sequences.timestamps[kept],
            dwell_seconds=sequences.dwell_seconds[kept],
            session_index=sequences.session_index[kept],
            split=sequences.split[kept],
            query_text=sequences.query_text[kept],
            context={name: values[kept] for name, values in sequences.context.items()},
        )

    def load_impressions(self) -> Impressions | None:
        """Reads the impression lists of training and validation."""
        shown = super().load_impressions()
        if shown is None:
            return None
        lists = np.flatnonzero(shown.split != TEST)
        offsets, places = ragged_ranges(shown.offsets[lists], shown.offsets[lists + 1])
        return Impressions(
            user_ids=shown.user_ids[lists],
            timestamps=shown.timestamps[lists],
            split=shown.split[lists],
            offsets=offsets,
            item_index=shown.item_index[places],
            position=shown.position[places],
            propensity=shown.propensity[places],
            event_type_index=shown.event_type_index[places],
            query_text=shown.query_text[lists],
            context={name: values[lists] for name, values in shown.context.items()},
        )
