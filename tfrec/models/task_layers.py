"""Dense layers between the input of ranking and its heads: what tasks share."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrec.config import RankingConfig
from tfrec.models.task_towers import (
    ExtractionLevel,
    TaskLayer,
    check_experts,
    make_gate,
    mix_experts,
)


@tf.keras.utils.register_keras_serializable(package="tfrec")
class SharedBottom(TaskLayer):
    """All tasks share the dense layers; each may have a tower of its own behind.

        z_t = tower_t(MLP x)

    Without `task_dims` there is one z for all tasks.

    Args:
        num_tasks: Tasks.
        hidden_dims: Widths of the shared layers; may be empty.
        task_dims: Widths of a task's own tower; may be empty.
        dropout: Share of dropped units in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., num_tasks, width]`; `[..., 1, width]` without `task_dims`.

    References:
        - Caruana, "Multitask Learning", Machine Learning 28, 1997.
    """

    def __init__(
        self,
        num_tasks: int,
        hidden_dims: Sequence[int],
        task_dims: Sequence[int],
        *,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_tasks, hidden_dims, task_dims, dropout=dropout, **kwargs)
        (self.shared,) = self.make_towers(1, self.hidden_dims)
        self.towers = self.make_towers(num_tasks if task_dims else 0, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.shared(x, training=training)
        if not self.towers:
            return tf.expand_dims(x, -2)
        return tf.stack([t(x, training=training) for t in self.towers], axis=-2)


@tf.keras.utils.register_keras_serializable(package="tfrec")
class MixtureOfExperts(TaskLayer):
    """Each task mixes the same experts by a gate of its own (MMoE).

        g_t = softmax(x W_t)          [num_experts]
        z_t = tower_t(sum_e g_te expert_e(x))

    Args:
        num_tasks: Tasks.
        hidden_dims: Widths of an expert; at least one.
        task_dims: Widths of a task's own tower; may be empty.
        num_experts: Experts.
        dropout: Share of dropped units in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., num_tasks, width]`.

    Raises:
        ValueError: If `hidden_dims` is empty or there is no expert.

    References:
        - Ma et al., "Modeling Task Relationships in Multi-task Learning with
          Multi-gate Mixture-of-Experts", KDD 2018.
    """

    def __init__(
        self,
        num_tasks: int,
        hidden_dims: Sequence[int],
        task_dims: Sequence[int],
        *,
        num_experts: int,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_tasks, hidden_dims, task_dims, dropout=dropout, **kwargs)
        check_experts(self.hidden_dims, num_experts=num_experts)
        self.num_experts = num_experts
        self.experts = self.make_towers(num_experts, self.hidden_dims)
        self.gates = [make_gate(num_experts) for _ in range(num_tasks)]
        self.towers = self.make_towers(num_tasks, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        experts = tf.stack([e(x, training=training) for e in self.experts], axis=-2)
        return tf.stack(
            [
                tower(mix_experts(gate(x), experts), training=training)
                for gate, tower in zip(self.gates, self.towers, strict=True)
            ],
            axis=-2,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_experts": self.num_experts}


@tf.keras.utils.register_keras_serializable(package="tfrec")
class ProgressiveExtraction(TaskLayer):
    """Shared experts and experts of each task alone, level by level (PLE).

        level l, task t:  z_t <- sum_e softmax(z_t W_t)_e expert_e
                          over the experts of t, fed z_t, and the shared, fed z_0
        shared:           z_0 <- the same with a gate on z_0 over *all* experts
        start:            z_0 = z_t = x;   end: tower_t(z_t)

    The last level needs no shared z_0. One level is CGC of the same paper.

    Args:
        num_tasks: Tasks.
        hidden_dims: Widths of an expert; at least one.
        task_dims: Widths of a task's own tower; may be empty.
        num_experts: Shared experts of a level.
        num_task_experts: Experts of one task of a level.
        num_levels: Levels.
        dropout: Share of dropped units in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., num_tasks, width]`.

    Raises:
        ValueError: If `hidden_dims` is empty, or a number is less than 1.

    References:
        - Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task
          Learning (MTL) Model for Personalized Recommendations", RecSys 2020.
    """

    def __init__(
        self,
        num_tasks: int,
        hidden_dims: Sequence[int],
        task_dims: Sequence[int],
        *,
        num_experts: int,
        num_task_experts: int,
        num_levels: int,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_tasks, hidden_dims, task_dims, dropout=dropout, **kwargs)
        check_experts(
            self.hidden_dims,
            num_experts=num_experts,
            num_task_experts=num_task_experts,
            num_levels=num_levels,
        )
        self.num_experts, self.num_task_experts = num_experts, num_task_experts
        self.num_levels = num_levels
        self.levels = [
            ExtractionLevel(
                num_tasks,
                self.hidden_dims,
                num_experts=num_experts,
                num_task_experts=num_task_experts,
                is_last=level == num_levels - 1,
                dropout=dropout,
            )
            for level in range(num_levels)
        ]
        self.towers = self.make_towers(num_tasks, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        inputs = [x] * (self.num_tasks + 1)
        for level in self.levels:
            inputs = level(inputs, training=training)
        towers = zip(self.towers, inputs[1:], strict=True)
        return tf.stack([t(z, training=training) for t, z in towers], axis=-2)

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_experts": self.num_experts,
            "num_task_experts": self.num_task_experts,
            "num_levels": self.num_levels,
        }
        return {**super().get_config(), **own}


def build_task_layers(config: RankingConfig, num_tasks: int) -> tf.keras.layers.Layer:
    """Builds the task layers that the configuration names."""
    shared = (num_tasks, config.hidden_dims, config.task_dims)
    if config.task_layers == "mmoe":
        return MixtureOfExperts(
            *shared, num_experts=config.num_experts, dropout=config.dropout
        )
    if config.task_layers == "ple":
        return ProgressiveExtraction(
            *shared,
            num_experts=config.num_experts,
            num_task_experts=config.num_task_experts,
            num_levels=config.num_expert_levels,
            dropout=config.dropout,
        )
    return SharedBottom(*shared, dropout=config.dropout)
