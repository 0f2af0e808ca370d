"""The attributes of candidates, each embedded on its own."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.item_table import ItemTable
from tfrec.models.fusion.fusion import ITEM_PREFIX, Fields


class AttributeFields(tf.keras.layers.Layer):
    """Embeds every declared attribute of items as a field of its own.

        field_a(i) = mean over levels l of E_a[index_a,l(i)]    category, path, tags
        field_n(i) = known_n(i) (value_n(i) w_n + b_n)           numbers

    The item's vector of retrieval holds all of them, mixed. Apart, a fusion can weigh
    one against another and multiply it with the shopper's state. Missing values give
    zeros.

    Args:
        dim: Width of the fields.
        item_table: The catalogue's encoded attributes.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        item_index: int32 `[batch_size, num_candidates]`.

    Returns:
        Per attribute, under `item_<name>`, float32 `[batch_size, num_candidates,
        dim]`.
    """

    def __init__(self, dim: int, item_table: ItemTable, **kwargs: Any) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.item_table = item_table
        self.tables = {
            name: tf.keras.layers.Embedding(
                size, dim, name=f"{ITEM_PREFIX}{name}", dtype=tf.float32
            )
            for name, size in item_table.vocabulary_sizes.items()
        }
        self.projections = {
            name: tf.keras.layers.Dense(
                dim, use_bias=False, name=f"{ITEM_PREFIX}{name}", dtype=tf.float32
            )
            for name in item_table.numbers
        }

    def call(self, item_index: tf.Tensor) -> Fields:
        fields = {}
        for name, table in self.tables.items():
            levels = tf.gather(tf.constant(self.item_table.indices[name]), item_index)
            present = tf.cast(levels > 0, tf.float32)
            count = tf.maximum(tf.reduce_sum(present, axis=-1, keepdims=True), 1.0)
            total = tf.einsum("bcl,bcld->bcd", present, table(levels))
            fields[ITEM_PREFIX + name] = total / count
        for name, projection in self.projections.items():
            rows = np.stack(
                [self.item_table.numbers[name], self.item_table.known[name]], axis=1
            )
            values = tf.gather(tf.constant(rows, tf.float32), item_index)
            fields[ITEM_PREFIX + name] = projection(values)
        return fields
