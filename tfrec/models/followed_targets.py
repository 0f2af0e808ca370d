"""Heads of which little is known follow those of the targets."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_START = 0.5


class FollowedTargets(tf.keras.layers.Layer):
    """Adds what the targets' heads say of a candidate to the logits of the others.

        logit_h += sum_t f_ht stop_gradient(logit_t),  f_ht = 1 / (2 num_targets) first

    Every target event teaches a hundred candidates; shown lists are few, and what is
    clicked in them is rare. A head that had to find everything by itself was further
    from the truth than the head of the target, merely scaled (decision 23). Targets
    learn nothing from it: their heads are what they would be alone. This is our own; it
    is near to stacking (Wolpert, "Stacked generalization", Neural Networks 5, 1992),
    but learned together.

    Args:
        is_target: Per task, whether it is the head of a target.
        follows: Per task, whether it follows; targets do not.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Raises:
        ValueError: If a head follows and there is no target.

    Call arguments:
        logits: float32 `[..., num_tasks]`.

    Returns:
        float32, the same shape.
    """

    def __init__(
        self, is_target: Sequence[bool], follows: Sequence[bool], **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.is_target = tuple(is_target)
        self.follows = tuple(follows)
        self._targets = [t for t, target in enumerate(is_target) if target]
        self._mask = tf.constant(self.follows, tf.float32)
        if any(self.follows):
            if not self._targets:
                raise ValueError(
                    "Heads follow targets where there is one. Received: is_target="
                    f"{self.is_target}, follows={self.follows}."
                )
            start = _START / len(self._targets)
            self.weight = self.add_weight(
                name="follow",
                shape=(len(self._targets), len(self.is_target)),
                initializer=tf.keras.initializers.Constant(start),
            )

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        if not any(self.follows):
            return logits
        of_targets = tf.stop_gradient(tf.gather(logits, self._targets, axis=-1))
        return logits + tf.tensordot(of_targets, self.weight * self._mask, 1)

    def get_config(self) -> dict[str, Any]:
        about = {"is_target": self.is_target, "follows": self.follows}
        return {**super().get_config(), **about}
