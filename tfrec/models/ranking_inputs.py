"""What ranking reads, embedded: fields and numbers of every candidate."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.config import RankingConfig
from tfrec.features.item_statistics import NUM_NEIGHBOURS, ItemStatistics
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Leaf, Request
from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket
from tfrec.models.attribute_fields import AttributeFields
from tfrec.models.event_encoder import NUM_COUNT_BUCKETS
from tfrec.models.fusion.fusion import (
    ATTENDED,
    CANDIDATE,
    CONTEXT_PREFIX,
    LAST_MET,
    MATCH,
    QUERY,
    TIMES_MET,
    Fields,
)
from tfrec.models.history_search import nearest_events, relevant_events
from tfrec.models.interest_scores import matching_interests
from tfrec.models.ranking_features import (
    NeighbourWeights,
    cross_features,
    neighbour_features,
)
from tfrec.models.target_attention import TargetAttention
from tfrec.schema import NUM_SPECIAL_INDICES, Schema

_SECONDS_AN_HOUR = 3_600.0


class RankingInputs(NamedTuple):
    """What ranking reads.

    Attributes:
        request: Histories and request data.
        query_embeddings: float32 `[batch_size, embedding_dim]` of retrieval; with
            several interests `[batch_size, num_interests, embedding_dim]`.
        candidate_index: int32 `[batch_size, num_candidates]`; 0 is padding.
        retrieval_scores: float32 `[batch_size, num_candidates]`, log-probabilities.
    """

    request: Request
    query_embeddings: Leaf
    candidate_index: Leaf
    retrieval_scores: Leaf


class RankingFields(tf.keras.layers.Layer):
    """Embeds what is known of candidates, field by field, for a fusion.

        query, candidate, match = query * item(c), attended = attention(c, history),
        last_met, times_met, item_<attribute>, context_<attribute>
        numbers = [log p_retrieval / 10, comparisons, demand, neighbours]

    Query and item vectors are those of the trained retrieval model, frozen, as are
    the statistics of items. Of several interests `query` is, for each candidate, the
    one that scores it highest in retrieval.

    A history that is longer than `attention_length` is attended to in two stages:
    the first picks the most relevant events (`tfrec.models.history_search`), the
    second attends to those alone. Comparisons and neighbours read the whole history
    all the same.

    Args:
        config: The model's configuration.
        schema: Event types.
        item_table: The catalogue.
        embedding_dim: Width of the retrieval model's vectors.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for
            a numeric one.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        inputs: `RankingInputs`.

    Returns:
        Fields, per name float32 `[batch_size, num_candidates, field_dim]`, and
        numbers, float32 `[batch_size, num_candidates, num_numbers]`.
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
        super().__init__(dtype=tf.float32, **kwargs)
        self.settings = config
        self.item_table = item_table
        num_rows = item_table.num_items + NUM_SPECIAL_INDICES
        self.items = self._frozen("items", (num_rows, embedding_dim))
        self.next_item = self._neighbours("next", num_rows)
        self.near = self._neighbours("near", num_rows)
        self.demand = self._frozen("demand", (num_rows, 2))
        self.num_event_types = num_types = len(schema.event_types)
        small = config.attribute_dim
        self.type_table = _table(num_types + 2, embedding_dim, "type")
        self.event_gap_table = _table(NUM_GAP_BUCKETS, embedding_dim, "event_gap")
        self.gap_table = _table(NUM_GAP_BUCKETS, small, "last_met")
        self.count_table = _table(NUM_COUNT_BUCKETS, small, "times_met")
        self.context_tables = {
            name: _table(size, small, CONTEXT_PREFIX + name)
            for name, size in context_sizes.items()
            if size
        }
        self.number_context = [n for n, size in context_sizes.items() if not size]
        self.attention = TargetAttention(
            config.attention_dim,
            num_heads=config.attention_heads,
            num_event_types=num_types if config.time_decay else 0,
        )
        self.attributes = (
            AttributeFields(small, item_table) if config.reads_attributes else None
        )

    def _frozen(
        self, name: str, shape: tuple[int, int], dtype: tf.DType = tf.float32
    ) -> Any:
        return self.add_weight(
            name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False
        )

    def _neighbours(self, name: str, num_rows: int) -> NeighbourWeights:
        shape = (num_rows, NUM_NEIGHBOURS)
        return NeighbourWeights(
            self._frozen(f"{name}_items", shape, tf.int32),
            self._frozen(f"{name}_strength", shape),
        )

    def set_frozen(self, item_vectors: tf.Tensor, statistics: ItemStatistics) -> None:
        """Sets what is not learned here.

        Args:
            item_vectors: float `[num_items + 2, embedding_dim]`, retrieval's.
            statistics: Demand and neighbours of the items.
        """
        # Mixed precision gives them in half.
        self.items.assign(tf.cast(item_vectors, tf.float32))
        self.demand.assign(statistics.demand)
        for weights, found in (
            (self.next_item, statistics.next_item),
            (self.near, statistics.near),
        ):
            weights.item_index.assign(found.item_index)
            weights.strength.assign(found.strength)

    def call(self, inputs: RankingInputs) -> tuple[Fields, tf.Tensor]:
        request, query_embeddings, candidate_index, retrieval_scores = inputs
        candidates = tf.gather(self.items, candidate_index)
        crossed = cross_features(
            request,
            candidate_index,
            self.item_table,
            num_event_types=self.num_event_types,
        )
        query = matching_interests(query_embeddings, candidates)
        numbers = [
            retrieval_scores[..., tf.newaxis] / 10.0,
            crossed.numbers,
            tf.gather(self.demand, candidate_index),
            neighbour_features(request, candidate_index, self.next_item),
            neighbour_features(request, candidate_index, self.near),
        ]
        fields = {
            QUERY: query,
            CANDIDATE: candidates,
            MATCH: query * candidates,
            ATTENDED: self._attended(request, candidates, query_embeddings),
            LAST_MET: self.gap_table(crossed.last_met_bucket),
            TIMES_MET: self.count_table(
                tf.minimum(crossed.times_met, NUM_COUNT_BUCKETS - 1)
            ),
        }
        for name, part in self._context(request).items():
            shape = [*tf.unstack(tf.shape(candidate_index)), part.shape[-1]]
            fields[name] = tf.broadcast_to(part[:, tf.newaxis], shape)
        if self.attributes is not None:
            fields |= self.attributes(candidate_index)
        return fields, tf.concat(numbers, axis=-1)

    def _attended(
        self, request: Request, candidates: tf.Tensor, queries: tf.Tensor
    ) -> tf.Tensor:
        """Pools the history by its relevance to each candidate."""
        length, is_near = self.settings.attention_length, None
        items = tf.gather(self.items, request.item_index)
        if length is not None and self.settings.history_search == "request":
            request = relevant_events(request, items, queries, length=length)
            items = tf.gather(self.items, request.item_index)
        elif length is not None:
            is_near = nearest_events(
                candidates, items, request.history_mask, length=length
            )
        then, now = request.timestamps, request.request_timestamp[:, tf.newaxis]
        known = (then > 0) & (now > 0)
        events = (
            items
            + self.type_table(request.event_type_index)
            + self.event_gap_table(gap_bucket(now - then, known))
        )
        age = tf.cast(tf.where(known, tf.maximum(now - then, 0), 0), tf.float32)
        pooled = self.attention(
            candidates,
            events,
            request.history_mask,
            request.event_type_index,
            age / _SECONDS_AN_HOUR,
            is_near,
        )
        return tf.cast(pooled, candidates.dtype)

    def _context(self, request: Request) -> Fields:
        parts = {
            CONTEXT_PREFIX + name: layer(request.context[name])
            for name, layer in self.context_tables.items()
        }
        for name in self.number_context:
            value = request.context[name]
            number = tf.sign(value) * tf.math.log1p(tf.abs(value))
            number = tf.where(tf.math.is_finite(value), number, 0.0)
            parts[CONTEXT_PREFIX + name] = number[:, tf.newaxis]
        return parts


def _table(size: int, dim: int, name: str) -> tf.keras.layers.Embedding:
    return tf.keras.layers.Embedding(size, dim, name=name, dtype=tf.float32)
