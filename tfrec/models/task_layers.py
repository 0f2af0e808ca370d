"""Dense layers between the input of ranking and its heads: what tasks share."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrec.config import RankingConfig


class DenseTower(tf.keras.layers.Layer):
    """Dense layers with GELU, each followed by dropout; none give the input back.

        x <- dropout(gelu(x W + b))    once per width

    Args:
        dims: Widths of the layers.
        dropout: Share of dropped units in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., dims[-1]]`.
    """

    def __init__(self, dims: Sequence[int], *, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        self.dropout_rate = dropout
        self.dense = [tf.keras.layers.Dense(dim, tf.nn.gelu) for dim in self.dims]
        self.dropout = tf.keras.layers.Dropout(dropout)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.dense:
            x = self.dropout(layer(x), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        own = {"dims": self.dims, "dropout": self.dropout_rate}
        return {**super().get_config(), **own}


class _TaskLayer(tf.keras.layers.Layer):
    """What the ways to share have in common; see each."""

    def __init__(
        self,
        num_tasks: int,
        hidden_dims: Sequence[int],
        task_dims: Sequence[int],
        *,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_tasks < 1:
            raise ValueError(
                f"`num_tasks` must be at least 1. Received: num_tasks={num_tasks}."
            )
        self.num_tasks = num_tasks
        self.hidden_dims = tuple(hidden_dims)
        self.task_dims = tuple(task_dims)
        self.dropout_rate = dropout

    def _towers(self, number: int, dims: Sequence[int]) -> list[DenseTower]:
        return [DenseTower(dims, dropout=self.dropout_rate) for _ in range(number)]

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_tasks": self.num_tasks,
            "hidden_dims": self.hidden_dims,
            "task_dims": self.task_dims,
            "dropout": self.dropout_rate,
        }
        return {**super().get_config(), **own}


@tf.keras.utils.register_keras_serializable(package="tfrec")
class SharedBottom(_TaskLayer):
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
        (self.shared,) = self._towers(1, self.hidden_dims)
        self.towers = self._towers(num_tasks if task_dims else 0, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.shared(x, training=training)
        if not self.towers:
            return tf.expand_dims(x, -2)
        return tf.stack([t(x, training=training) for t in self.towers], axis=-2)


@tf.keras.utils.register_keras_serializable(package="tfrec")
class MixtureOfExperts(_TaskLayer):
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
        _check_experts(self.hidden_dims, num_experts=num_experts)
        self.num_experts = num_experts
        self.experts = self._towers(num_experts, self.hidden_dims)
        self.gates = [_gate(num_experts) for _ in range(num_tasks)]
        self.towers = self._towers(num_tasks, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        experts = tf.stack([e(x, training=training) for e in self.experts], axis=-2)
        return tf.stack(
            [
                tower(_mix(gate(x), experts), training=training)
                for gate, tower in zip(self.gates, self.towers, strict=True)
            ],
            axis=-2,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_experts": self.num_experts}


@tf.keras.utils.register_keras_serializable(package="tfrec")
class ProgressiveExtraction(_TaskLayer):
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
        _check_experts(
            self.hidden_dims,
            num_experts=num_experts,
            num_task_experts=num_task_experts,
            num_levels=num_levels,
        )
        self.num_experts, self.num_task_experts = num_experts, num_task_experts
        self.num_levels = num_levels
        everyone = num_experts + num_tasks * num_task_experts
        levels = range(num_levels)
        self.shared = [self._towers(num_experts, self.hidden_dims) for _ in levels]
        self.own = [
            [self._towers(num_task_experts, self.hidden_dims) for _ in range(num_tasks)]
            for _ in levels
        ]
        self.gates = [
            [_gate(num_experts + num_task_experts) for _ in range(num_tasks)]
            for _ in levels
        ]
        self.shared_gates = [_gate(everyone) for _ in range(num_levels - 1)]
        self.towers = self._towers(num_tasks, self.task_dims)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        shared, tasks = x, [x] * self.num_tasks
        for level in range(self.num_levels):
            shared, tasks = self._level(level, shared, tasks, training)
        towers = zip(self.towers, tasks, strict=True)
        return tf.stack([t(z, training=training) for t, z in towers], axis=-2)

    def _level(
        self, level: int, shared: tf.Tensor, tasks: list[tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        common = [e(shared, training=training) for e in self.shared[level]]
        own = [
            [e(z, training=training) for e in experts]
            for experts, z in zip(self.own[level], tasks, strict=True)
        ]
        mixed = [
            _mix(gate(z), tf.stack([*common, *experts], axis=-2))
            for gate, z, experts in zip(self.gates[level], tasks, own, strict=True)
        ]
        if level == self.num_levels - 1:
            return shared, mixed
        everyone = tf.stack([*common, *(e for part in own for e in part)], axis=-2)
        return _mix(self.shared_gates[level](shared), everyone), mixed

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_experts": self.num_experts,
            "num_task_experts": self.num_task_experts,
            "num_levels": self.num_levels,
        }
        return {**super().get_config(), **own}


class TaskLogits(tf.keras.layers.Layer):
    """One linear output per task; it starts at 0 and computes in float32.

        logit_t = z_t . w_t + b_t

    Args:
        num_tasks: Tasks.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        z: float `[..., num_tasks or 1, width]`; 1: the same for all tasks.

    Returns:
        float32 `[..., num_tasks]`.
    """

    def __init__(self, num_tasks: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.num_tasks = num_tasks

    def build(self, input_shape: tf.TensorShape) -> None:
        shape = (input_shape[-1], self.num_tasks)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer="zeros")
        super().build(input_shape)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        if z.shape[-2] == 1:
            return tf.tensordot(tf.squeeze(z, -2), self.kernel, 1) + self.bias
        return tf.reduce_sum(z * tf.transpose(self.kernel), axis=-1) + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_tasks": self.num_tasks}


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


def _gate(num_experts: int) -> tf.keras.layers.Layer:
    return tf.keras.layers.Dense(num_experts, use_bias=False)


def _mix(gate_logits: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
    """Mixes `[..., num_experts, dim]` by a softmax over `[..., num_experts]`."""
    weights = tf.expand_dims(tf.nn.softmax(gate_logits), -1)
    return tf.reduce_sum(weights * experts, axis=-2)


def _check_experts(hidden_dims: tuple[int, ...], **numbers: int) -> None:
    if not hidden_dims:
        raise ValueError(
            "`hidden_dims` must name a width: experts without layers are all alike. "
            "Received: ()."
        )
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={number}.")
