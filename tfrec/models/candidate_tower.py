"""The candidate tower: what an item is."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.item_table import ItemTable
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX

# Small, so that Adam's steps turn the vectors quickly: with vectors of length 1 the
# same quality on Beauty took two to three times as many epochs.
ID_STDDEV = 0.02


class AttributeEmbedding(tf.keras.layers.Layer):
    """Embeds the declared attributes of items; missing values add nothing.

        attributes(i) = sum_a mean_l E_a[index_a,l(i)] + sum_n known_n (v_n w_n + b_n)

    Args:
        embedding_dim: Width of the result.
        item_table: The catalogue's encoded attributes.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        item_index: int32, any shape.

    Returns:
        float `[..., embedding_dim]`.
    """

    def __init__(
        self, embedding_dim: int, item_table: ItemTable, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.item_table = item_table
        self.tables = {
            name: tf.keras.layers.Embedding(size, embedding_dim, name=name)
            for name, size in item_table.vocabulary_sizes.items()
        }
        self.number_projection = tf.keras.layers.Dense(embedding_dim, use_bias=False)
        names = list(item_table.numbers)
        if names:
            values = np.stack([item_table.numbers[n] for n in names], axis=1)
            known = np.stack([item_table.known[n] for n in names], axis=1)
            self.number_rows = np.concatenate([values, known], 1).astype(np.float32)

    def build(self, input_shape: Any) -> None:
        for table in self.tables.values():
            table.build(None)
        if self.item_table.numbers:
            self.number_projection.build((None, 2 * len(self.item_table.numbers)))
        super().build(input_shape)

    def call(self, item_index: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([tf.shape(item_index), [self.embedding_dim]], axis=0)
        total = tf.zeros(shape, self.compute_dtype)
        for name, table in self.tables.items():
            levels = tf.gather(tf.constant(self.item_table.indices[name]), item_index)
            present = tf.cast(levels > 0, self.compute_dtype)[..., tf.newaxis]
            count = tf.maximum(tf.reduce_sum(present, axis=-2), 1.0)
            total += tf.reduce_sum(table(levels) * present, axis=-2) / count
        if self.item_table.numbers:
            rows = tf.gather(tf.constant(self.number_rows), item_index)
            total += self.number_projection(rows)
        return total


class CandidateTower(tf.keras.layers.Layer):
    """Embeds items by id and attributes.

        item(i)      = E[i or unknown] + attributes(i)
        candidate(i) = item(i) / |item(i)|

    Items that training never saw share the row of the unknown item, so that
    they are told apart by their attributes alone. That row is trained because
    `id_dropout` hides ids at random.

    The same `item` vectors embed the events of the history: history and
    candidates share one space.

    Args:
        embedding_dim: Width of the result.
        item_table: The catalogue's encoded attributes and training counts.
        id_dropout: Share of the items whose id is hidden in a training step.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        item_index: int32 `[num_distinct]`, the items to embed.
        training: bool, whether ids are dropped.

    Returns:
        float `[num_distinct, embedding_dim]`: the `item` vectors, not
        normalised; those of item index 0 (padding) are zeros.
    """

    def __init__(
        self,
        embedding_dim: int,
        item_table: ItemTable,
        *,
        id_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.id_dropout = id_dropout
        self.num_rows = item_table.num_items + NUM_SPECIAL_INDICES
        seen = item_table.train_count > 0
        self.id_rows = np.where(seen, np.arange(self.num_rows), OOV_INDEX)
        self.attributes = AttributeEmbedding(embedding_dim, item_table)
        self.has_attributes = bool(item_table.vocabulary_sizes or item_table.numbers)

    def build(self, input_shape: Any) -> None:
        self.id_table = self.add_weight(
            name="id_table",
            shape=(self.num_rows, self.embedding_dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=ID_STDDEV),
        )
        if self.has_attributes:
            self.attributes.build(None)
        super().build(input_shape)

    def call(self, item_index: tf.Tensor, training: bool = False) -> tf.Tensor:
        rows = tf.gather(tf.constant(self.id_rows, tf.int32), item_index)
        if training and self.id_dropout > 0.0 and self.has_attributes:
            hidden = tf.random.uniform(tf.shape(rows)) < self.id_dropout
            rows = tf.where(hidden, OOV_INDEX, rows)
        items = tf.gather(tf.cast(self.id_table, self.compute_dtype), rows)
        if self.has_attributes:
            items += self.attributes(item_index)
        real = tf.cast(item_index > 0, items.dtype)
        return items * real[:, tf.newaxis]
