"""How often each item is a training target, counted while training runs."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrec.schema import NUM_SPECIAL_INDICES

PRIOR_TARGETS = 1_000.0  # What the start is worth: gone after some batches.


class StreamingFrequency(tf.keras.layers.Layer):
    """Estimates the share of all training targets that each item is.

        frequency(i) = (n start(i) + count(i)) / (n + sum_j count(j)),  n = 1,000

    Events of a catalogue are no good guess of its *targets* where only some types of
    events are targets, or some are weighted away: this counts what is really drawn.
    The counts are variables, so a continued run goes on with them; under a
    strategy each replica counts the targets that it is given.

    Args:
        start: The share of each item at first, in (0, 1), summing to 1.
        is_shared: Whether all replicas are given the targets of all: their counts are
            then one and the same, and not summed for a checkpoint.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        target_items: int32 `[num_targets]`, item indices; in training they are
            counted before the shares are given.

    Returns:
        float32 `[num_items]`, summing to 1.

    Relative to the paper: counts instead of a moving average of the steps between
    two appearances. Batches are shuffled, so there is no drift to follow.

    References:
        - Yi et al., "Sampling-bias-corrected neural modeling for large corpus item
          recommendations", RecSys 2019, https://doi.org/10.1145/3298689.3346996.
    """

    def __init__(
        self, start: Sequence[float], *, is_shared: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.is_shared = is_shared
        self.start = [float(share) for share in start]
        self.counts = self.add_weight(
            name="target_counts",
            shape=(len(self.start),),
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN
            if is_shared
            else tf.VariableAggregation.SUM,
        )

    def call(self, target_items: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            seen = tf.math.unsorted_segment_sum(
                tf.ones_like(target_items, tf.float32),
                target_items - NUM_SPECIAL_INDICES,
                len(self.start),
            )
            self.counts.assign_add(seen)
        counts = PRIOR_TARGETS * tf.constant(self.start) + self.counts
        return counts / tf.reduce_sum(counts)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "start": self.start,
            "is_shared": self.is_shared,
        }
