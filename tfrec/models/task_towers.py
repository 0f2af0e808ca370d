"""Parts of task layers: towers, gates, mixtures of experts, outputs."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


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


class TaskLayer(tf.keras.layers.Layer):
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

    def make_towers(self, number: int, dims: Sequence[int]) -> list[DenseTower]:
        """Returns towers of the same widths."""
        return [DenseTower(dims, dropout=self.dropout_rate) for _ in range(number)]

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_tasks": self.num_tasks,
            "hidden_dims": self.hidden_dims,
            "task_dims": self.task_dims,
            "dropout": self.dropout_rate,
        }
        return {**super().get_config(), **own}


class ExtractionLevel(TaskLayer):
    """One level of `ProgressiveExtraction`, which gives the formula.

    Args:
        num_tasks: Tasks.
        hidden_dims: Widths of an expert.
        num_experts: Shared experts.
        num_task_experts: Experts of one task.
        is_last: Whether nobody asks for the shared part any more.
        dropout: Share of dropped units in training.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        inputs: The shared part, then one per task, float `[..., dim]` each.

    Returns:
        The same number of `[..., hidden_dims[-1]]`; the shared one as it came in
        the last level.

    References:
        - Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020.
    """

    def __init__(
        self,
        num_tasks: int,
        hidden_dims: Sequence[int],
        *,
        num_experts: int,
        num_task_experts: int,
        is_last: bool,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_tasks, hidden_dims, (), dropout=dropout, **kwargs)
        self.num_task_experts = num_task_experts
        number = num_tasks * num_task_experts
        # Flat: Keras does not save layers in lists of lists.
        self.shared = self.make_towers(num_experts, self.hidden_dims)
        self.own = self.make_towers(number, self.hidden_dims)
        self.gates = [
            make_gate(num_experts + num_task_experts) for _ in range(num_tasks)
        ]
        self.shared_gate = None if is_last else make_gate(num_experts + number)

    def call(self, inputs: list[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
        shared, *tasks = inputs
        common = [e(shared, training=training) for e in self.shared]
        own, mixed = [], []
        for task, (gate, z) in enumerate(zip(self.gates, tasks, strict=True)):
            first = task * self.num_task_experts
            chosen = self.own[first : first + self.num_task_experts]
            experts = [e(z, training=training) for e in chosen]
            mixed.append(mix_experts(gate(z), tf.stack([*common, *experts], axis=-2)))
            own += experts
        if self.shared_gate is not None:
            everyone = tf.stack([*common, *own], axis=-2)
            shared = mix_experts(self.shared_gate(shared), everyone)
        return [shared, *mixed]

    def get_config(self) -> dict[str, Any]:
        own = {
            "num_experts": len(self.shared),
            "num_task_experts": self.num_task_experts,
            "is_last": self.shared_gate is None,
        }
        config = {**super().get_config(), **own}
        del config["task_dims"]  # Its towers come behind the last level.
        return config


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


def make_gate(num_experts: int) -> tf.keras.layers.Layer:
    """Returns the layer that gives the logits of a gate."""
    return tf.keras.layers.Dense(num_experts, use_bias=False)


def mix_experts(gate_logits: tf.Tensor, experts: tf.Tensor) -> tf.Tensor:
    """Mixes experts by a softmax of the gate.

    Args:
        gate_logits: float `[..., num_experts]`.
        experts: float `[..., num_experts, dim]`.

    Returns:
        float `[..., dim]`.
    """
    weights = tf.expand_dims(tf.nn.softmax(gate_logits), -1)
    return tf.reduce_sum(weights * experts, axis=-2)


def check_experts(hidden_dims: tuple[int, ...], **numbers: int) -> None:
    """Raises a `ValueError` if there are no layers, or less than one of something."""
    if not hidden_dims:
        raise ValueError(
            "`hidden_dims` must name a width: experts without layers are all alike. "
            "Received: ()."
        )
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={number}.")
