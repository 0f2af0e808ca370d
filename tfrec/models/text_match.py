"""How alike the text of an item is to what was read before, word for word."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.item_table import ItemTable
from tfrec.features.tokens import Tokens
from tfrec.models.text_fusion import scaled_log_counts

_START_HALF_LIFE = 3.0  # Events.
_LEAST_SPREAD = 1e-3  # Of the greatest: directions with less are noise.


class TextMatch(tf.keras.layers.Layer):
    """Compares texts in the encoder's own space, beside the learned space of items.

        c(t)        = W (t - mean), L2-normalised; 0 for a text that says nothing
        s(q)        = sum_e 2^(-steps(e) / h) exp(v[type(e)]) c(text of e) + u c(search)
        match(q, i) = f softplus(a + b z_i) s(q) . c(text of i)

    W whitens: it takes the catalogue's texts to their `match_dim` strongest principal
    directions and scales each to the same spread, so that what sets texts apart counts
    as much as what they share. W and mean are fixed. z_i is the scaled log of the
    training count as in `TextGate`: rare items may lean on it more. What a learned map
    to the space of items has to learn pair by pair, that a shopper goes on with the
    same brand and line, is known here from the start.

    f is 0 until the few numbers h, v, u, a and b were fitted
    (`tfrec.training.text_matching`), on events that the towers were not trained on: of
    their own training events the towers know better, and would teach that texts count
    little.

    Args:
        match_dim: Principal directions that are kept.
        item_table: The catalogue, with texts.
        num_event_types: Event types of the schema.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    References:
        - Su et al., "Whitening Sentence Representations for Better Semantics and
          Faster Retrieval", 2021, https://arxiv.org/abs/2103.15316.
    """

    def __init__(
        self,
        match_dim: int,
        item_table: ItemTable,
        *,
        num_event_types: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        if item_table.text is None:
            raise ValueError(
                "`TextMatch` compares texts. Received: an item table without text. "
                "Encode the catalogue, or set `text.match_dim` to 0."
            )
        self.match_dim = match_dim
        self.num_event_types = num_event_types
        self.scaled_log_count = scaled_log_counts(item_table.train_count)
        self.start_mean, self.start_kernel = whitening(item_table.text, match_dim)

    def build(self, input_shape: Any) -> None:
        self.mean = self._fixed("mean", self.start_mean)
        self.kernel = self._fixed("kernel", self.start_kernel)
        self.log_half_life = self._fixed("log_half_life", np.log(_START_HALF_LIFE))
        self.event_type = self._fixed("event_type", np.zeros(self.num_event_types + 2))
        self.search = self._fixed("search", 1.0)
        self.gain = self._fixed("gain", 0.0)
        self.slope = self._fixed("slope", 0.0)
        self.is_fitted = self._fixed("is_fitted", 0.0)
        super().build(input_shape)

    def _fixed(self, name: str, values: Any) -> tf.Variable:
        # Not trained with the towers; weights, so that a later catalogue keeps them.
        return self.add_weight(
            name=name,
            shape=np.shape(values),
            initializer=tf.keras.initializers.Constant(values),
            trainable=False,
        )

    @property
    def fitted_weights(self) -> list[tf.Variable]:
        """h, v, u, a and b."""
        return [
            self.log_half_life,
            self.event_type,
            self.search,
            self.gain,
            self.slope,
        ]

    def embed(self, text: tf.Tensor) -> tf.Tensor:
        """Returns c, float32 `[num_texts, match_dim]`, of encoded texts."""
        said = tf.reduce_any(tf.not_equal(text, 0.0), axis=-1, keepdims=True)
        centred = tf.where(said, tf.cast(text, tf.float32) - self.mean, 0.0)
        return tf.math.l2_normalize(tf.matmul(centred, self.kernel), axis=-1)

    def weighted(self, texts: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Returns f softplus(a + b z_i) c(i), float32 `[num_items, match_dim]`.

        Args:
            texts: float32 `[num_items, match_dim]` from `embed`.
            rows: int32 `[num_items]`, id rows; 1 where the id is unknown or hidden.
        """
        count = tf.gather(tf.constant(self.scaled_log_count), rows)
        gain = self.is_fitted * tf.math.softplus(self.gain + self.slope * count)
        return texts * tf.expand_dims(gain, -1)

    def call(
        self,
        texts: tf.Tensor,
        tokens: Tokens,
        query_tokens: tf.Tensor,
        search: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns s, float32 `[num_queries, match_dim]`.

        Args:
            texts: float32 `[num_rows, num_tokens, match_dim]`, c of the tokens' texts.
            tokens: What stands where.
            query_tokens: int32 `[num_queries]`, places in the flattened tokens; a query
                reads those up to it, of its own segment.
            search: float32 `[num_queries, text_dim]`, encoded; zeros where nothing was
                searched for. None: nobody searches.
        """
        num_tokens = tf.shape(texts)[1]
        row = query_tokens // num_tokens
        steps = (query_tokens - row * num_tokens)[:, tf.newaxis] - tf.range(num_tokens)
        segment = tf.gather(tokens.segment_ids, row)  # [num_queries, num_tokens]
        own = tf.gather(tf.reshape(tokens.segment_ids, [-1]), query_tokens)
        readable = (steps >= 0) & (segment > 0) & tf.equal(segment, own[:, tf.newaxis])
        # Later tokens are masked, but 2^+n must not overflow before.
        age = tf.cast(tf.maximum(steps, 0), tf.float32)
        decay = tf.exp(-np.log(2.0) * tf.exp(-self.log_half_life) * age)
        of_type = tf.gather(self.event_type, tf.gather(tokens.event_type_index, row))
        weights = tf.where(readable, decay * tf.exp(of_type), 0.0)
        # By query, not by token: a request asks at its last token alone.
        read = tf.matmul(weights[:, tf.newaxis], tf.gather(texts, row))
        pooled = tf.squeeze(read, 1)
        if search is None:
            return pooled
        return pooled + self.search * self.embed(search)


def whitening(text: np.ndarray, match_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean `[text_dim]` and kernel `[text_dim, match_dim]`, both float32.

    Columns beyond the directions in which texts differ at all are zeros.

    Args:
        text: float32 `[num_rows, text_dim]`; rows of zeros say nothing.
        match_dim: Directions.
    """
    said = text[np.any(text != 0.0, axis=1)].astype(np.float64)
    mean = said.mean(axis=0) if len(said) else np.zeros(text.shape[1])
    centred = said - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(said), 1))
    spread = np.sqrt(np.maximum(values[::-1], 0.0))
    kernel = np.zeros((text.shape[1], match_dim))
    kept = int((spread > _LEAST_SPREAD * spread[0]).sum()) if spread[0] > 0 else 0
    kept = min(kept, match_dim)
    kernel[:, :kept] = vectors[:, ::-1][:, :kept] / spread[:kept]
    return mean.astype(np.float32), kernel.astype(np.float32)
