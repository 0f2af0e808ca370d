"""The ranking model: which of the retrieved candidates comes first."""

import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.config import RankingConfig
from tfrec.features.history import without_searches
from tfrec.features.item_statistics import ItemStatistics
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Leaf, Request
from tfrec.models.calibration import build_calibration
from tfrec.models.followed_targets import FollowedTargets
from tfrec.models.funnel import at_most_before, funnel_labels, funnel_logits
from tfrec.models.fusion.fusion import Fields
from tfrec.models.fusion.registry import build_fusion
from tfrec.models.fusion.weighted import WeightedFusion
from tfrec.models.number_encoding import NumberEncoding
from tfrec.models.ranking_features import NeighbourWeights, meetings
from tfrec.models.ranking_inputs import RankingFields, RankingInputs
from tfrec.models.ranking_objective import Outcomes, RankingObjective
from tfrec.models.task_layers import build_task_layers
from tfrec.models.task_towers import TaskLogits
from tfrec.models.trainable_model import TrainableModel
from tfrec.schema import Schema

UNDEFINED_LABEL = -1
MAX_LOG_DWELL = math.log1p(86_400.0)  # A day: an exponential must not overflow.


class RankingBatch(NamedTuple):
    """One training step of ranking.

    Attributes:
        inputs: What ranking reads.
        labels: int8 `[batch_size, num_candidates, num_heads]`: 1 happened, 0 did
            not, -1 undefined (not learned from).
        positions: int32 `[batch_size, num_candidates]`, place in the shown list from
            1; 0 unknown. This and the next two are `()` where nothing learns from it.
        propensities: float32, same shape, logged chance of being seen; NaN unknown.
        dwell_seconds: float32, same shape; 0 unknown.
        taught: bool `[batch_size, num_heads]`, heads that learn from a list; `()`: all.
    """

    inputs: RankingInputs
    labels: Leaf
    positions: Leaf = ()
    propensities: Leaf = ()
    dwell_seconds: Leaf = ()
    taught: Leaf = ()


class RankingOutputs(NamedTuple):
    """What ranking says of the candidates.

    Attributes:
        logits: float32 `[batch_size, num_candidates, num_heads]`; `sigmoid` of them
            are the probabilities, also along a funnel.
        log_dwell: float32 `[batch_size, num_candidates]`, log(1 + seconds); `()`
            where no dwell is predicted.
    """

    logits: tf.Tensor
    log_dwell: Leaf = ()


class RankingModel(TrainableModel):
    """Scores candidates for a request, one probability per event type.

        x(c)       = fusion of [query, item(c), query * item(c),
                     attention(c, history), comparisons(c, history),
                     neighbours(c, history), context]
        logit_h(c) = a_h log p_retrieval(c) + b_h + (tasks x(c))_h + w_h . numbers(c)
                     + sum_t f_ht stop_gradient(logit_t(c)) if h is no target
        score(c)   = sum_h weight_h sigmoid(logit_h(c))

    `numbers` are the comparisons, neighbours and demand, and where each of them stands
    among its quantiles (`NumberEncoding`). The last layer of the tasks
    and w start at 0, so training starts from the order of retrieval: a is 1 at the
    start for targets t, and the others follow those (`FollowedTargets`). Query and item
    vectors are those of the trained retrieval model, frozen (`RankingFields`). How
    parts become one vector is the fusion of the configuration; one that gives logits
    itself (`Fusion.gives_logits`) stands in place of the tasks and w. `tasks` are the
    dense layers, see `task_layers`. In a funnel the logits of later stages are
    conditional first, with a_h = 0 at the start, and then multiplied up, see
    `funnel`. Dwell, if predicted, is one more task. The history is that of items:
    what was searched for is in `query`.

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
        self.fields = RankingFields(
            config,
            schema,
            item_table,
            embedding_dim=embedding_dim,
            context_sizes=context_sizes,
        )
        self.number_encoding = (
            NumberEncoding(config.number_bins) if config.number_bins else None
        )
        self.stages = [types.index(t) for t in config.funnel]
        self.has_dwell = config.dwell_weight > 0.0
        num_tasks = len(self.heads) + self.has_dwell
        self.fusion = build_fusion(config, num_heads=num_tasks)
        self.tasks = build_task_layers(config, num_tasks)
        self.output_layer = TaskLogits(num_tasks)
        # A linear part beside the deep one: numbers need no detour.
        self.wide_layer = tf.keras.layers.Dense(
            num_tasks,
            use_bias=False,
            kernel_initializer="zeros",
            dtype=tf.float32,
        )
        starts = [
            t < len(self.heads) and t not in self.stages[1:] for t in range(num_tasks)
        ]
        # Of a later stage the logit is conditional: it says little of the item itself.
        is_target = [
            start and types[t] in schema.target_event_types
            for t, start in enumerate(starts)
        ]
        follows = [
            start and any(is_target) and not target
            for start, target in zip(starts, is_target, strict=True)
        ]
        self.followed = FollowedTargets(is_target, follows)
        follows_retrieval = [
            float(start and not follow)
            for start, follow in zip(starts, follows, strict=True)
        ]
        self.retrieval_weight = self.add_weight(
            name="retrieval_weight",
            shape=(num_tasks,),
            initializer=tf.keras.initializers.Constant(follows_retrieval),
        )
        if self.has_dwell:
            self.mean_log_dwell = self.add_weight(
                name="mean_log_dwell", shape=(), initializer="zeros", trainable=False
            )
        self.objective = RankingObjective(config, types)
        self.calibration = build_calibration(
            config, num_heads=len(self.heads), context_sizes=context_sizes
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
        """Sets what is not learned here.

        Args:
            item_vectors: float `[num_items + 2, embedding_dim]`, retrieval's.
            statistics: Demand and neighbours of the items.
        """
        self.fields.set_frozen(item_vectors, statistics)

    def set_mean_dwell(self, mean_log_dwell: float) -> None:
        """Sets where the prediction of log(1 + dwell) starts from."""
        self.mean_log_dwell.assign(mean_log_dwell)

    def call(self, inputs: RankingInputs, training: bool = False) -> tf.Tensor:
        """Returns logits `[batch_size, num_candidates, num_heads]`."""
        return self.forward(inputs, training=training).logits

    def forward(
        self, inputs: RankingInputs, *, training: bool = False
    ) -> RankingOutputs:
        """Returns all that is predicted of the candidates."""
        fields, number = self._fields(inputs)
        x = self.fusion(fields, number, training=training)
        outputs = inputs.retrieval_scores[..., tf.newaxis] * self.retrieval_weight
        if self.fusion.gives_logits:
            outputs += x
        else:
            outputs += self.output_layer(self.tasks(x, training=training))
            outputs += self.wide_layer(number)
        outputs = self.followed(outputs)
        logits = funnel_logits(outputs[..., : len(self.heads)], self.stages)
        if not self.has_dwell:
            return RankingOutputs(logits)
        return RankingOutputs(logits, self.mean_log_dwell + outputs[..., -1])

    def field_weights(self, inputs: RankingInputs) -> tuple[tuple[str, ...], tf.Tensor]:
        """Returns how much each field weighs, see `WeightedFusion.field_weights`.

        Returns:
            Names of the last axis, and float32 `[batch_size, num_candidates,
            num_fields]`, which sums to 1 over it.

        Raises:
            ValueError: If the fusion has no such weights.
        """
        if not isinstance(self.fusion, WeightedFusion):
            raise ValueError(
                "`field_weights` are those of the fusion `weighted`. Received: "
                f"ranking.fusion={self.settings.fusion}."
            )
        return self.fusion.field_weights(*self._fields(inputs))

    def numbers(self, inputs: RankingInputs) -> tf.Tensor:
        """Returns float32 `[batch_size, num_candidates, num_numbers]`, not encoded."""
        return self.fields(self.of_items(inputs))[1]

    def set_number_edges(self, numbers: np.ndarray) -> None:
        """Sets how numbers are encoded.

        Args:
            numbers: float32 `[num_candidates, num_numbers]` of training lists.
        """
        if self.number_encoding is not None:
            self.number_encoding.set_edges(numbers)

    def _fields(self, inputs: RankingInputs) -> tuple[Fields, tf.Tensor]:
        fields, numbers = self.fields(self.of_items(inputs))
        if self.number_encoding is None:
            return fields, numbers
        return fields, tf.concat([numbers, self.number_encoding(numbers)], axis=-1)

    def of_items(self, inputs: RankingInputs) -> RankingInputs:
        """Returns the inputs without searches: ranking reads events of items alone."""
        if self.search_type_index is None:
            return inputs
        request = without_searches(inputs.request, self.search_type_index)
        return inputs._replace(request=request)

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns float `[batch_size, num_candidates]`, the final score.

        Args:
            logits: float `[batch_size, num_candidates, num_heads]`.
        """
        weights = tf.constant(self.head_weights, logits.dtype)
        return tf.linalg.matvec(tf.sigmoid(logits), weights)

    def calibrated(self, logits: tf.Tensor, request: Request) -> tf.Tensor:
        """Returns float `[batch_size, num_candidates, num_heads]`, logits to be served.

        Training never sees them: the curves are fitted when it is over. Along a funnel
        a calibrated stage is never likelier than the one before.
        """
        if self.calibration is None:
            return logits
        return at_most_before(self.calibration(logits, request), self.stages)

    def dwell_seconds(self, outputs: RankingOutputs) -> tf.Tensor | None:
        """Returns the predicted dwell in seconds, at most a day; None without it.

        float32 `[batch_size, num_candidates]`.

        It is the exponential of a mean of logarithms: the typical, not the mean dwell.
        """
        if isinstance(outputs.log_dwell, tuple):
            return None
        return tf.math.expm1(tf.clip_by_value(outputs.log_dwell, 0.0, MAX_LOG_DWELL))

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        batch = RankingBatch(*inputs)
        outputs = self.forward(batch.inputs, training=training)
        labels = funnel_labels(batch.labels, self.stages)
        defined = labels != UNDEFINED_LABEL
        real = batch.inputs.candidate_index > 0
        defined &= real[..., tf.newaxis]
        if not isinstance(batch.taught, tuple):
            defined &= batch.taught[:, tf.newaxis]
        outcomes = Outcomes(
            tf.cast(labels, tf.float32),
            defined,
            self._novel(batch.inputs) if self.settings.novel_weight else (),
            batch.positions,
            batch.propensities,
            # How long somebody stayed is known whatever a label says.
            batch.dwell_seconds
            if isinstance(batch.dwell_seconds, tuple)
            else tf.where(real, batch.dwell_seconds, 0.0),
        )
        return self.objective.loss(outputs.logits, outcomes, outputs.log_dwell)

    def _novel(self, inputs: RankingInputs) -> tf.Tensor:
        """Returns bool `[batch_size, num_candidates]`, False if in the history."""
        return ~tf.reduce_any(meetings(inputs.request, inputs.candidate_index), axis=2)
