"""The two-tower retrieval model."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Leaf, Request
from tfrec.features.tokens import Tokens, find_occurrences, request_tokens
from tfrec.models.candidate_tower import CandidateTower
from tfrec.models.losses import chunked_softmax_loss, sampled_softmax_loss
from tfrec.models.negatives import draw_negatives, inclusion_probability
from tfrec.models.query_tower import QueryTower
from tfrec.models.repeat_bias import RepeatBias, RepeatLogits
from tfrec.models.trainable_model import TrainableModel
from tfrec.schema import NUM_SPECIAL_INDICES, Schema


class RetrievalBatch(NamedTuple):
    """One training step: rows of tokens and what follows some of them.

    Attributes:
        tokens: `Tokens`, `[num_rows, num_tokens]`.
        target_tokens: int32 `[num_targets]`, places in the flattened tokens of
            the queries.
        target_items: int32 `[num_targets]`, item index of each positive.
        target_weights: float32 `[num_targets]`.
        target_context: Per context attribute `[num_targets]`.
    """

    tokens: Tokens
    target_tokens: Leaf
    target_items: Leaf
    target_weights: Leaf
    target_context: dict[str, Leaf]


class EncodedQueries(NamedTuple):
    """Queries ready to be compared with candidates.

    Attributes:
        embeddings: float32 `[num_queries, embedding_dim]`, L2-normalised.
        repeats: Extra logits of known items; None where the model has none.
    """

    embeddings: tf.Tensor
    repeats: RepeatLogits | None


class RetrievalModel(TrainableModel):
    """Scores the catalogue for a history with two towers.

        score(query, i) = query . candidate(i) / temperature + bias(i) + repeat(i)

    `bias` is how popular the item is on its own, `repeat` (optional) what
    `RepeatBias` says of items already met.

    Args:
        config: The model's configuration.
        schema: Event types and context.
        item_table: The catalogue.
        has_repeat_bias: Whether known items get extra logits.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for
            a numeric one.
        **kwargs: Passed to `TrainableModel`.

    References:
        - Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018.
        - Yi et al., RecSys 2019 (two towers, normalisation, temperature, logQ).
    """

    def __init__(
        self,
        config: RetrievalConfig,
        schema: Schema,
        item_table: ItemTable,
        *,
        has_repeat_bias: bool,
        context_sizes: dict[str, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(dense_gradients=config.loss == "softmax", **kwargs)
        self.settings = config
        self.num_items = item_table.num_items
        self.candidate_tower = CandidateTower(
            config.embedding_dim, item_table, id_dropout=config.id_dropout
        )
        self.query_tower = QueryTower(
            config.embedding_dim,
            num_event_types=len(schema.event_types),
            max_history_length=config.max_history_length,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
            use_request_time=config.use_request_time,
            context_sizes=context_sizes,
        )
        self.repeat_bias = (
            RepeatBias(len(schema.event_types), dtype=tf.float32)
            if has_repeat_bias
            else None
        )
        self.log_temperature = self.add_weight(
            name="log_temperature",
            shape=(),
            initializer=tf.keras.initializers.Constant(np.log(config.temperature)),
        )
        counts = item_table.train_count[NUM_SPECIAL_INDICES:].astype(np.float32)
        # Additive smoothing keeps unseen items finite.
        frequency = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
        self.sampling_frequency = frequency.astype(np.float32)
        log_frequency = np.log(frequency)
        self.item_bias = self.add_weight(
            name="item_bias",
            shape=(self.num_items,),
            initializer="zeros"
            if config.bias_start == 0.0
            else _constant(config.bias_start * (log_frequency - log_frequency.mean())),
        )

    def item_vectors(self, training: bool = False) -> tf.Tensor:
        """Returns float `[num_items + 2, embedding_dim]`, not normalised."""
        rows = tf.range(self.num_items + NUM_SPECIAL_INDICES)
        return self.candidate_tower(rows, training=training)

    def candidate_embeddings(self) -> tf.Tensor:
        """Returns float32 `[num_items, embedding_dim]`, L2-normalised."""
        items = self.item_vectors()[NUM_SPECIAL_INDICES:]
        return tf.math.l2_normalize(tf.cast(items, tf.float32), axis=-1)

    def encode(self, request: Request, item_vectors: tf.Tensor) -> EncodedQueries:
        """Encodes requests; `item_vectors` as `item_vectors()` gives them."""
        tokens = request_tokens(request)
        length = tf.reduce_sum(tf.cast(request.history_mask, tf.int32), axis=1)
        batch_size, num_tokens = tf.unstack(tf.shape(tokens.item_index))
        last = tf.range(batch_size) * num_tokens + length
        return self._encode_tokens(
            tokens,
            tf.gather(item_vectors, tokens.item_index),
            last,
            request.context,
            training=False,
        )

    def scores(
        self, encoded: EncodedQueries, candidate_embeddings: tf.Tensor
    ) -> tf.Tensor:
        """Returns float32 `[num_queries, num_items]` over the whole catalogue."""
        queries = encoded.embeddings * tf.exp(-self.log_temperature)
        scores = tf.matmul(queries, candidate_embeddings, transpose_b=True)
        scores += self.item_bias
        if encoded.repeats is None:
            return scores
        places = tf.where(encoded.repeats.item_index > 0)  # [num_valid, 2], int64
        column = tf.gather_nd(encoded.repeats.item_index, places) - NUM_SPECIAL_INDICES
        cells = tf.stack([places[:, 0], tf.cast(column, tf.int64)], axis=1)
        extra = tf.gather_nd(encoded.repeats.logits, places)
        return tf.tensor_scatter_nd_add(scores, cells, extra)

    def call(self, batch: RetrievalBatch, training: bool = False) -> tf.Tensor:
        """Returns the mean loss of a batch over its weights."""
        if self.settings.loss == "softmax":
            total = self._exact_loss(batch, training)
        else:
            total = self._sampled_loss(batch, training)
        return total / tf.maximum(tf.reduce_sum(batch.target_weights), 1.0)

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        return self(RetrievalBatch(*inputs), training=training)

    def _exact_loss(self, batch: RetrievalBatch, training: bool) -> tf.Tensor:
        items = self.item_vectors(training=training)
        encoded = self._encode_tokens(
            batch.tokens,
            tf.gather(items, batch.tokens.item_index),
            batch.target_tokens,
            batch.target_context,
            training=training,
        )
        candidates = tf.cast(items[NUM_SPECIAL_INDICES:], tf.float32)
        repeats = encoded.repeats
        return chunked_softmax_loss(
            encoded.embeddings * tf.exp(-self.log_temperature),
            tf.math.l2_normalize(candidates, axis=-1),
            self.item_bias,
            batch.target_items - NUM_SPECIAL_INDICES,
            batch.target_weights,
            repeat_columns=None if repeats is None else repeats.item_index - 2,
            repeat_logits=None if repeats is None else repeats.logits,
            chunk_size=self.settings.softmax_chunk_size,
        )

    def _sampled_loss(self, batch: RetrievalBatch, training: bool) -> tf.Tensor:
        draws = {
            "num_uniform": self.settings.num_sampled_negatives,
            "num_items": self.num_items,
        }
        negatives, num_in_batch = draw_negatives(batch.target_items, **draws)
        tokens = tf.reshape(batch.tokens.item_index, [-1])
        # Only distinct items go through the tower.
        wanted = tf.concat([tokens, batch.target_items, negatives], axis=0)
        distinct, place = tf.unique(wanted)
        vectors = tf.gather(self.candidate_tower(distinct, training=training), place)
        sizes = [tf.size(tokens), tf.size(batch.target_items), tf.size(negatives)]
        of_tokens, of_positives, of_negatives = tf.split(vectors, sizes)
        shape = tf.concat([tf.shape(batch.tokens.item_index), [-1]], axis=0)
        encoded = self._encode_tokens(
            batch.tokens,
            tf.reshape(of_tokens, shape),
            batch.target_tokens,
            batch.target_context,
            training=training,
        )

        def probability(item_index: tf.Tensor) -> tf.Tensor:
            frequency = tf.constant(self.sampling_frequency)
            return inclusion_probability(
                tf.gather(frequency, item_index - NUM_SPECIAL_INDICES),
                num_in_batch=num_in_batch,
                **draws,
            )

        # The bias rides along as one more dimension that every query has at 1.
        queries = encoded.embeddings * tf.exp(-self.log_temperature)
        return sampled_softmax_loss(
            tf.pad(queries, [[0, 0], [0, 1]], constant_values=1.0),
            self._with_bias(of_positives, batch.target_items),
            self._with_bias(of_negatives, negatives),
            positive_item_index=batch.target_items,
            negative_item_index=negatives,
            positive_probability=probability(batch.target_items),
            negative_probability=probability(negatives),
            weights=batch.target_weights,
        )

    def _with_bias(self, vectors: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
        """Normalises item vectors and puts the items' bias behind them."""
        unit = tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)
        bias = tf.gather(self.item_bias, item_index - NUM_SPECIAL_INDICES)
        return tf.concat([unit, bias[:, tf.newaxis]], axis=1)

    def _encode_tokens(
        self,
        tokens: Tokens,
        items: tf.Tensor,
        query_tokens: tf.Tensor,
        context: dict[str, tf.Tensor],
        *,
        training: bool,
    ) -> EncodedQueries:
        occurrences = find_occurrences(tokens.item_index, tokens.segment_ids)
        queries = self.query_tower(
            tokens, items, occurrences, query_tokens, context, training=training
        )
        repeats = None
        if self.repeat_bias is not None:
            repeats = self.repeat_bias(queries, query_tokens, tokens, occurrences)
        return EncodedQueries(queries, repeats)


def _constant(values: np.ndarray) -> tf.keras.initializers.Initializer:
    return tf.keras.initializers.Constant(values)
