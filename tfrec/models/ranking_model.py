"""The ranking model: which of the retrieved candidates comes first."""

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrec.config import RankingConfig
from tfrec.features.item_statistics import ItemStatistics
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Leaf
from tfrec.models.fusion.registry import build_fusion
from tfrec.models.fusion.weighted import WeightedFusion
from tfrec.models.ranking_features import NeighbourWeights, meetings
from tfrec.models.ranking_inputs import RankingFields, RankingInputs
from tfrec.models.trainable_model import TrainableModel
from tfrec.schema import Schema

UNDEFINED_LABEL = -1


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

        x(c)       = fusion of [query, item(c), query * item(c),
                     attention(c, history), comparisons(c, history),
                     neighbours(c, history), context]
        logit_h(c) = a_h log p_retrieval(c) + b_h + (MLP x(c))_h + w_h . numbers(c)
        score(c)   = sum_h weight_h sigmoid(logit_h(c))

    `numbers` are the comparisons, neighbours and demand. The last layer of the MLP
    and w start at 0, so training starts from the order of retrieval. Query and item
    vectors are those of the trained retrieval model, frozen (`RankingFields`). How
    parts become one vector is the fusion of the configuration; one that gives logits
    itself (`Fusion.gives_logits`) stands in place of MLP and w.

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
        types = schema.head_event_types or schema.target_event_types
        self.head_weights = [
            config.head_weights.get(t, float(t in schema.target_event_types))
            for t in types
        ]
        self.fields = RankingFields(
            config,
            schema,
            item_table,
            embedding_dim=embedding_dim,
            context_sizes=context_sizes,
        )
        self.fusion = build_fusion(config, num_heads=len(self.heads))
        self.hidden = [
            tf.keras.layers.Dense(dim, tf.nn.gelu) for dim in config.hidden_dims
        ]
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

    @property
    def items(self) -> Any:
        """Variable float32 `[num_items + 2, embedding_dim]`, vectors of items."""
        return self.fields.items

    @property
    def demand(self) -> Any:
        """Variable float32 `[num_items + 2, 2]`, see `ItemStatistics`."""
        return self.fields.demand

    @property
    def next_item(self) -> NeighbourWeights:
        """What comes next after an item."""
        return self.fields.next_item

    @property
    def near(self) -> NeighbourWeights:
        """What stands near an item."""
        return self.fields.near

    def set_frozen(self, item_vectors: tf.Tensor, statistics: ItemStatistics) -> None:
        """Sets what is not learned here: retrieval's item vectors, statistics."""
        self.fields.set_frozen(item_vectors, statistics)

    def call(self, inputs: RankingInputs, training: bool = False) -> tf.Tensor:
        """Returns logits `[batch_size, num_candidates, num_heads]`."""
        fields, number = self.fields(inputs)
        x = self.fusion(fields, number, training=training)
        prior = inputs.retrieval_scores[..., tf.newaxis] * self.retrieval_weight
        if self.fusion.gives_logits:
            return x + prior
        for layer in self.hidden:
            x = self.dropout(layer(x), training=training)
        return self.output_layer(x) + self.wide_layer(number) + prior

    def field_weights(self, inputs: RankingInputs) -> tuple[tuple[str, ...], tf.Tensor]:
        """Returns how much each field weighs, see `WeightedFusion.field_weights`.

        Raises:
            ValueError: If the fusion has no such weights.
        """
        if not isinstance(self.fusion, WeightedFusion):
            raise ValueError(
                "`field_weights` are those of the fusion `weighted`. Received: "
                f"ranking.fusion={self.settings.fusion}."
            )
        return self.fusion.field_weights(*self.fields(inputs))

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
