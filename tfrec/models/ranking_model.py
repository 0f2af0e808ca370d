"""The ranking model: which of the retrieved candidates comes first."""

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrec.config import RankingConfig
from tfrec.features.history import without_searches
from tfrec.features.item_statistics import NUM_NEIGHBOURS, ItemStatistics
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Leaf, Request
from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket
from tfrec.models.event_encoder import NUM_COUNT_BUCKETS
from tfrec.models.ranking_features import (
    NeighbourWeights,
    cross_features,
    meetings,
    neighbour_features,
)
from tfrec.models.target_attention import TargetAttention
from tfrec.models.trainable_model import TrainableModel
from tfrec.schema import NUM_SPECIAL_INDICES, Schema

UNDEFINED_LABEL = -1


class RankingInputs(NamedTuple):
    """What ranking reads.

    Attributes:
        request: Histories and request data.
        query_embeddings: float32 `[batch_size, embedding_dim]` of retrieval.
        candidate_index: int32 `[batch_size, num_candidates]`; 0 is padding.
        retrieval_scores: float32 `[batch_size, num_candidates]`, log-probabilities.
    """

    request: Request
    query_embeddings: Leaf
    candidate_index: Leaf
    retrieval_scores: Leaf


class RankingBatch(NamedTuple):
    """One training step of ranking.

    Attributes:
        inputs: What ranking reads.
        labels: int8 `[batch_size, num_candidates, num_heads]`: 1 happened, 0 did
            not, -1 undefined (not learned from).
    """

    inputs: RankingInputs
    labels: Leaf


class RankingModel(TrainableModel):
    """Scores candidates for a request, one probability per event type.

        x(c)       = [query, item(c), query * item(c), attention(c, history),
                      comparisons(c, history), neighbours(c, history), context]
        logit_h(c) = a_h log p_retrieval(c) + b_h + (MLP x(c))_h + w_h . numbers(c)
        score(c)   = sum_h weight_h sigmoid(logit_h(c))

    `numbers` are the comparisons, neighbours and demand. The last layer of the MLP
    and w start at 0, so training starts from the order of retrieval. Query and item
    vectors are those of the trained retrieval model, frozen; fusion is by
    concatenation. The history is that of items: what was searched for is in `query`.

    Args:
        config: The model's configuration.
        schema: Event types and heads.
        item_table: The catalogue.
        embedding_dim: Width of the retrieval model's vectors.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for
            a numeric one.
        **kwargs: Passed to `TrainableModel`.

    References:
        - Zhou et al., "Deep Interest Network for click-through rate
          prediction", KDD 2018 (target attention).
        - Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016.
        - Covington et al., "Deep Neural Networks for YouTube Recommendations",
          RecSys 2016 (candidates, then ranking).
    """

    def __init__(
        self,
        config: RankingConfig,
        schema: Schema,
        item_table: ItemTable,
        *,
        embedding_dim: int,
        context_sizes: dict[str, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = config
        self.item_table = item_table
        self.heads = schema.heads
        self.search_type_index = schema.search_event_type_index
        types = schema.head_event_types or schema.target_event_types
        self.head_weights = [
            config.head_weights.get(t, float(t in schema.target_event_types))
            for t in types
        ]
        self.items = self.add_weight(
            name="items",
            shape=(item_table.num_items + NUM_SPECIAL_INDICES, embedding_dim),
            initializer="zeros",
            trainable=False,
        )

        self.next_item = self._neighbour_weights("next", item_table.num_items)
        self.near = self._neighbour_weights("near", item_table.num_items)
        self.demand = self.add_weight(
            name="demand",
            shape=(item_table.num_items + NUM_SPECIAL_INDICES, 2),
            initializer="zeros",
            trainable=False,
        )

        def table(size: int, dim: int, name: str) -> tf.keras.layers.Embedding:
            return tf.keras.layers.Embedding(size, dim, name=name, dtype=tf.float32)

        small = config.attribute_dim
        self.type_table = table(len(schema.event_types) + 2, embedding_dim, "type")
        self.event_gap_table = table(NUM_GAP_BUCKETS, embedding_dim, "event_gap")
        self.gap_table = table(NUM_GAP_BUCKETS, small, "last_met")
        self.count_table = table(NUM_COUNT_BUCKETS, small, "times_met")
        self.context_tables = {
            name: table(size, small, f"context_{name}")
            for name, size in context_sizes.items()
            if size
        }
        self.number_context = [n for n, size in context_sizes.items() if not size]
        self.attention = TargetAttention(config.attention_dim)
        self.hidden = [
            tf.keras.layers.Dense(dim, tf.nn.gelu) for dim in config.hidden_dims
        ]
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout = tf.keras.layers.Dropout(config.dropout)
        self.output_layer = tf.keras.layers.Dense(
            len(self.heads), kernel_initializer="zeros", dtype=tf.float32
        )
        # A linear part beside the deep one: numbers need no detour.
        self.wide_layer = tf.keras.layers.Dense(
            len(self.heads),
            use_bias=False,
            kernel_initializer="zeros",
            dtype=tf.float32,
        )
        self.retrieval_weight = self.add_weight(
            name="retrieval_weight", shape=(len(self.heads),), initializer="ones"
        )
        self.pointwise = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(
                from_logits=True, reduction=tf.keras.losses.Reduction.SUM
            )
        )

    def _neighbour_weights(self, name: str, num_items: int) -> NeighbourWeights:
        shape = (num_items + NUM_SPECIAL_INDICES, NUM_NEIGHBOURS)
        frozen = {"shape": shape, "initializer": "zeros", "trainable": False}
        return NeighbourWeights(
            self.add_weight(name=f"{name}_items", dtype=tf.int32, **frozen),
            self.add_weight(name=f"{name}_strength", **frozen),
        )

    def set_frozen(self, item_vectors: tf.Tensor, statistics: ItemStatistics) -> None:
        """Sets what is not learned here: retrieval's item vectors, statistics."""
        self.items.assign(item_vectors)
        self.demand.assign(statistics.demand)
        for weights, found in (
            (self.next_item, statistics.next_item),
            (self.near, statistics.near),
        ):
            weights.item_index.assign(found.item_index)
            weights.strength.assign(found.strength)

    def call(self, inputs: RankingInputs, training: bool = False) -> tf.Tensor:
        """Returns logits `[batch_size, num_candidates, num_heads]`."""
        request, query_embeddings, candidate_index, retrieval_scores = inputs
        if self.search_type_index is not None:
            request = without_searches(request, self.search_type_index)
        candidates = tf.gather(self.items, candidate_index)
        crossed = cross_features(request, candidate_index, self.item_table)
        query = tf.broadcast_to(query_embeddings[:, tf.newaxis], tf.shape(candidates))
        numbers = [
            retrieval_scores[..., tf.newaxis] / 10.0,
            crossed.numbers,
            tf.gather(self.demand, candidate_index),
            neighbour_features(request, candidate_index, self.next_item),
            neighbour_features(request, candidate_index, self.near),
        ]
        embeddings = [
            query,
            candidates,
            query * candidates,
            self._attended(request, candidates),
            self.gap_table(crossed.last_met_bucket),
            self.count_table(tf.minimum(crossed.times_met, NUM_COUNT_BUCKETS - 1)),
        ]
        for part in self._context(request):
            shape = [*tf.unstack(tf.shape(candidate_index)), part.shape[-1]]
            embeddings.append(tf.broadcast_to(part[:, tf.newaxis], shape))
        number = tf.concat(numbers, axis=-1)
        embedding = self.dropout(
            self.norm(tf.concat(embeddings, axis=-1)), training=training
        )
        x = tf.concat([tf.cast(embedding, number.dtype), number], axis=-1)
        for layer in self.hidden:
            x = self.dropout(layer(x), training=training)
        return (
            self.output_layer(x)
            + self.wide_layer(number)
            + retrieval_scores[..., tf.newaxis] * self.retrieval_weight
        )

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the final score `[batch_size, num_candidates]` of logits."""
        weights = tf.constant(self.head_weights, logits.dtype)
        return tf.linalg.matvec(tf.sigmoid(logits), weights)

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        batch = RankingBatch(*inputs)
        logits = self(batch.inputs, training=training)
        labels = tf.cast(batch.labels, tf.float32)
        defined = batch.labels != UNDEFINED_LABEL
        defined &= (batch.inputs.candidate_index > 0)[..., tf.newaxis]
        loss = self.settings.pointwise_weight * self._pointwise_loss(
            labels, logits, defined
        )
        loss += self.settings.listwise_weight * listwise_softmax_loss(
            labels, logits, defined
        )
        if self.settings.novel_weight == 0.0:
            return loss
        inputs = batch.inputs
        met = tf.reduce_any(meetings(inputs.request, inputs.candidate_index), axis=2)
        return loss + self.settings.novel_weight * listwise_softmax_loss(
            labels, logits, defined & ~tf.expand_dims(met, -1)
        )

    def _pointwise_loss(
        self, labels: tf.Tensor, logits: tf.Tensor, defined: tf.Tensor
    ) -> tf.Tensor:
        """Mean cross-entropy of the defined labels, over all heads."""
        weight = tf.cast(defined, tf.float32)
        # Keras averages over the last axis: here it is one label alone.
        total = self.pointwise(
            tf.expand_dims(tf.maximum(labels, 0.0), -1),
            tf.expand_dims(logits, -1),
            sample_weight=weight,
        )
        return total / tf.maximum(tf.reduce_sum(weight), 1.0)

    def _attended(self, request: Request, candidates: tf.Tensor) -> tf.Tensor:
        """Pools the history by its relevance to each candidate."""
        then, now = request.timestamps, request.request_timestamp[:, tf.newaxis]
        age = gap_bucket(now - then, (then > 0) & (now > 0))
        events = (
            tf.gather(self.items, request.item_index)
            + self.type_table(request.event_type_index)
            + self.event_gap_table(age)
        )
        pooled = self.attention(candidates, events, request.history_mask)
        return tf.cast(pooled, candidates.dtype)

    def _context(self, request: Request) -> list[tf.Tensor]:
        parts = [
            layer(request.context[name]) for name, layer in self.context_tables.items()
        ]
        for name in self.number_context:
            value = request.context[name]
            number = tf.sign(value) * tf.math.log1p(tf.abs(value))
            number = tf.where(tf.math.is_finite(value), number, 0.0)
            parts.append(number[:, tf.newaxis])
        return parts


def listwise_softmax_loss(
    labels: tf.Tensor, logits: tf.Tensor, defined: tf.Tensor
) -> tf.Tensor:
    """Averages the softmax cross-entropy over lists, head by head.

        loss = mean over lists with a positive of
               sum_c y_c / sum(y) (logsumexp_c' logit_c' - logit_c)

    Args:
        labels: float `[batch_size, num_candidates, num_heads]`, 1 for positives.
        logits: float, same shape.
        defined: bool, same shape; False takes a candidate out of the list.

    Returns:
        float scalar; 0 where no list has a positive.

    References:
        - Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
          Approach", ICML 2007 (ListNet, top one).
    """
    masked = tf.where(defined, logits, logits.dtype.min)
    log_probability = logits - tf.reduce_logsumexp(masked, axis=1, keepdims=True)
    positive = tf.where(defined, tf.maximum(labels, 0.0), 0.0)
    count = tf.reduce_sum(positive, axis=1)  # [batch_size, num_heads]
    total = tf.reduce_sum(tf.where(defined, log_probability, 0.0) * positive, axis=1)
    per_list = -tf.math.divide_no_nan(total, count)
    num_lists = tf.reduce_sum(tf.cast(count > 0.0, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(per_list), num_lists)
