"""Joins what an item is called with which item it is."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.item_table import ItemTable
from tfrec.schema import NUM_SPECIAL_INDICES


class TextProjection(tf.keras.layers.Layer):
    """Takes encoded texts, of items or of searches, into the space of items.

        p(t) = W (t - mean)          if the text says anything, else 0

    `mean` is that of the catalogue: texts of one shop are much alike, and what
    they share would drown what tells them apart.

    Args:
        embedding_dim: Width of the result.
        item_text: float32 `[num_items + 2, text_dim]` as in `ItemTable`.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        text: float32 `[num_texts, text_dim]`; rows of zeros say nothing.

    Returns:
        float `[num_texts, embedding_dim]`.

    References:
        - Hou et al., "Towards Universal Sequence Representation Learning for
          Recommender Systems", KDD 2022, https://arxiv.org/abs/2206.05941 (centred
          texts, taken into the space of items by a learned map).
    """

    def __init__(self, embedding_dim: int, item_text: np.ndarray, **kwargs: Any):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        said = item_text[np.any(item_text != 0.0, axis=1)]
        self.start_mean = said.mean(axis=0) if len(said) else item_text[0]

    def build(self, input_shape: Any) -> None:
        text_dim = int(input_shape[-1])
        self.mean = self.add_weight(
            name="mean",
            shape=(text_dim,),
            initializer=tf.keras.initializers.Constant(self.start_mean),
            trainable=False,  # And kept: a later catalogue must not move it.
            dtype=tf.float32,
        )
        self.kernel = self.add_weight(
            name="kernel", shape=(text_dim, self.embedding_dim)
        )
        super().build(input_shape)

    def call(self, text: tf.Tensor) -> tf.Tensor:
        said = tf.reduce_any(tf.not_equal(text, 0.0), axis=-1, keepdims=True)
        mean = tf.cast(self.mean, tf.float32)
        centred = tf.where(said, tf.cast(text, tf.float32) - mean, 0.0)
        kernel = tf.cast(self.kernel, self.compute_dtype)
        return tf.matmul(tf.cast(centred, self.compute_dtype), kernel)


class TextGate(tf.keras.layers.Layer):
    """Weighs id against text by how often the item was met in training.

        item(i) = 2 g_i id(i) + 2 (1 - g_i) text(i)
        g_i     = sigmoid(a z_i + b),   z_i = log(1 + n_i) / mean log(1 + n) - 1

    n_i is the number of training events of the item; 0 where its id is hidden.
    a and b are learned and start at 0: a plain sum. With a > 0 rare items lean
    on their text, frequent ones on their id. An item without text is its id.

    Args:
        train_count: int64 `[num_rows]`, training events by id row.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        ids: float `[num_distinct, embedding_dim]`.
        text: float `[num_distinct, embedding_dim]`; zeros where there is none.
        rows: int32 `[num_distinct]`, id row of each; 1 where the id is hidden.

    Returns:
        float `[num_distinct, embedding_dim]`.

    References:
        - Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
          https://arxiv.org/abs/1702.01992; here the gate is by count alone.
    """

    def __init__(self, train_count: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scaled_log_count = scaled_log_counts(train_count)

    def build(self, input_shape: Any) -> None:
        self.slope = self.add_weight(name="slope", shape=(), initializer="zeros")
        self.offset = self.add_weight(name="offset", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, ids: tf.Tensor, text: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        count = tf.gather(tf.constant(self.scaled_log_count), rows)
        slope, offset = (tf.cast(w, tf.float32) for w in (self.slope, self.offset))
        gate = tf.sigmoid(slope * count + offset)
        has_text = tf.reduce_any(tf.not_equal(text, 0.0), axis=-1)
        gate = tf.where(has_text, gate, 0.5)
        gate = tf.cast(gate, ids.dtype)[:, tf.newaxis]
        return 2.0 * gate * ids + 2.0 * (1.0 - gate) * tf.cast(text, ids.dtype)


def scaled_log_counts(train_count: np.ndarray) -> np.ndarray:
    """Returns z, float32 `[num_rows]`, see `TextGate`; -1 without a training event.

    Args:
        train_count: int64 `[num_rows]`, training events by id row.
    """
    logs = np.log1p(train_count.astype(np.float64))
    seen = logs[train_count > 0]
    scale = seen.mean() if len(seen) else 1.0
    scaled = (logs / scale - 1.0).astype(np.float32)
    # Padding and unknown items were never met as themselves.
    scaled[:NUM_SPECIAL_INDICES] = -1.0
    return scaled


def has_text(item_table: ItemTable) -> bool:
    """Returns whether a text encoder read the catalogue."""
    return item_table.text is not None and item_table.text.shape[1] > 0
