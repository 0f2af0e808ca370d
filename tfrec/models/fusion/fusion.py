"""The interface of fusions, and what they share."""

from typing import Any, ClassVar

import tensorflow as tf

QUERY = "query"
CANDIDATE = "candidate"
MATCH = "match"
ATTENDED = "attended"
LAST_MET = "last_met"
TIMES_MET = "times_met"
CONTEXT_PREFIX = "context_"
ITEM_PREFIX = "item_"

Fields = dict[str, tf.Tensor]


def describes_item(name: str) -> bool:
    """Returns whether a field is of the item alone, whoever asks for it."""
    return name == CANDIDATE or name.startswith(ITEM_PREFIX)


class Fusion(tf.keras.layers.Layer):
    """Makes one vector x(c) of what is known of a candidate.

    A *field* is one embedded part: the query, the item, their product, the attended
    history, an attribute of the item or of the context. `numbers` are comparisons,
    neighbours and demand. Each candidate is fused alone: padding and other
    candidates of the list change nothing.

    Fields are normalised together and dropped out; numbers are neither.

    Args:
        dropout: Share of dropped units of the fields, in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        fields: Per name float `[batch_size, num_candidates, field_dim]`; every
            field has a width of its own. The same names in the same order in
            every call.
        numbers: float32 `[batch_size, num_candidates, num_numbers]`.

    Returns:
        float32 `[batch_size, num_candidates, dim]`; logits of the heads in place of
        `dim` where `gives_logits`.
    """

    gives_logits: ClassVar[bool] = False

    def __init__(self, dropout: float, **kwargs: Any) -> None:
        # Numbers keep their precision; the layers inside follow the global policy.
        super().__init__(autocast=False, **kwargs)
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout = tf.keras.layers.Dropout(dropout)

    def normalised(self, parts: list[tf.Tensor], training: bool) -> tf.Tensor:
        """Returns `[batch_size, num_candidates, dim]`, float in compute type."""
        # The norm computes in this type: what it joins may come in others.
        same = [tf.cast(part, self.norm.compute_dtype) for part in parts]
        return self.dropout(self.norm(tf.concat(same, axis=-1)), training=training)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "dropout": self.dropout.rate}


def width_of(values: tf.Tensor) -> int:
    """Returns the size of the last axis, which is known when a graph is built."""
    return values.shape.as_list()[-1] or 0


def with_numbers(embedding: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    """Joins float `[..., dim]` and `[..., num_numbers]`, in the type of the numbers."""
    return tf.concat([tf.cast(embedding, numbers.dtype), numbers], axis=-1)
