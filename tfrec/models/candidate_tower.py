"""The candidate tower: what an item is."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.item_table import ItemTable
from tfrec.models.text_fusion import TextGate, TextProjection
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

    References:
        - Covington et al., "Deep Neural Networks for YouTube Recommendations",
          RecSys 2016 (means of the embeddings of several values).
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
    """Embeds items by id, text and attributes.

        item(i)      = gate(E[row(i)], text(i)) + attributes(i)
        candidate(i) = item(i) / |item(i)|

    `gate` is `TextGate`; without text it is the id alone. Items that training
    never saw share the row of the unknown item, so that they are told apart by
    their text and attributes. That row is trained where `id_dropout` hides
    ids at random.

    The same `item` vectors embed the events of the history: history and
    candidates share one space.

    Args:
        embedding_dim: Width of the result.
        item_table: The catalogue's encoded attributes, texts and training counts.
        id_dropout: Share of the items whose id is hidden in a training step.
        text_is_trained: Whether the vectors of texts change, and so belong to the
            weights.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        item_index: int32 `[num_distinct]`, the items to embed.
        rows: int32 `[num_distinct]`, their id rows, from `id_rows`; None for those
            of serving.
        texts: float `[num_distinct, embedding_dim]` from `item_texts`; None works
            them out.

    Returns:
        float `[num_distinct, embedding_dim]`: the `item` vectors, not
        normalised; those of item index 0 (padding) are zeros.

    References:
        - Volkovs et al., "DropoutNet: Addressing Cold Start in Recommender Systems",
          NeurIPS 2017 (hidden ids as a trained case).
    """

    def __init__(
        self,
        embedding_dim: int,
        item_table: ItemTable,
        *,
        id_dropout: float = 0.0,
        text_is_trained: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.id_dropout = id_dropout
        self.num_rows = item_table.num_items + NUM_SPECIAL_INDICES
        seen = item_table.train_count > 0
        self.known_rows = np.where(seen, np.arange(self.num_rows), OOV_INDEX)
        self.attributes = AttributeEmbedding(embedding_dim, item_table)
        self.has_attributes = bool(item_table.vocabulary_sizes or item_table.numbers)
        self.text_rows: tf.Tensor | tf.Variable | None = None
        if item_table.text is not None:
            self.text_rows = tf.constant(item_table.text, tf.float32)
            if text_is_trained:
                self.text_rows = tf.Variable(self.text_rows, trainable=False)
            self.text_projection = TextProjection(embedding_dim, item_table.text)
            self.text_gate = TextGate(item_table.train_count)

    def build(self, input_shape: Any) -> None:
        self.id_table = self.add_weight(
            name="id_table",
            shape=(self.num_rows, self.embedding_dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=ID_STDDEV),
        )
        if self.has_attributes:
            self.attributes.build(None)
        if self.text_rows is not None:
            self.text_projection.build(self.text_rows.shape)
            self.text_gate.build(None)
        super().build(input_shape)

    def start_ids(self, vectors: np.ndarray) -> None:
        """Sets the id embeddings to start from.

        Args:
            vectors: float32 `[num_items + 2, embedding_dim]`, L2-normalised; they are
                scaled to the length that random ones would have.
        """
        length = ID_STDDEV * self.embedding_dim**0.5
        self.id_table.assign(vectors * np.float32(length))

    @property
    def has_content(self) -> bool:
        """Whether more than the id tells items apart: text or attributes."""
        return self.has_attributes or self.text_rows is not None

    @property
    def hides_ids(self) -> bool:
        """Whether items are learned without their id, too."""
        return self.id_dropout > 0.0 and self.has_content

    def id_rows(self, item_index: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns int32 id rows; those of unseen and of hidden items are 1.

        Args:
            item_index: int32, any shape, which is also that of the result.
            training: Whether ids are hidden by chance.
        """
        rows = tf.gather(tf.constant(self.known_rows, tf.int32), item_index)
        if training and self.hides_ids:
            hidden = tf.random.uniform(tf.shape(rows)) < self.id_dropout
            rows = tf.where(hidden, OOV_INDEX, rows)
        return rows

    def embed_text(self, text: tf.Tensor) -> tf.Tensor:
        """Returns float `[num_texts, embedding_dim]` of encoded texts."""
        return self.text_projection(text)

    def item_texts(
        self, item_index: tf.Tensor, text_rows: tf.Tensor | None = None
    ) -> tf.Tensor | None:
        """Returns the items' texts in the space of items; None without an encoder.

        Args:
            item_index: int32 `[num_distinct]`.
            text_rows: float32 `[num_items + 2, text_dim]`; None for those kept.
        """
        text_rows = self.text_rows if text_rows is None else text_rows
        if text_rows is None:
            return None
        return self.text_projection(tf.gather(text_rows, item_index))

    def call(
        self,
        item_index: tf.Tensor,
        rows: tf.Tensor | None = None,
        texts: tf.Tensor | None = None,
    ) -> tf.Tensor:
        if rows is None:
            rows = self.id_rows(item_index)
        items = tf.gather(tf.cast(self.id_table, self.compute_dtype), rows)
        texts = self.item_texts(item_index) if texts is None else texts
        if texts is not None:
            items = self.text_gate(items, texts, rows)
        if self.has_attributes:
            items += self.attributes(item_index)
        real = tf.cast(item_index > 0, items.dtype)
        return items * real[:, tf.newaxis]
