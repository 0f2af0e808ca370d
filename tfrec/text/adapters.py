"""What of a transformer is trained on: nothing, its last layers, adapters, all."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

# Names of the projections that adapters are for, in BERT and its relatives.
_QUERY_AND_VALUE = {
    *("query", "value", "query_proj", "value_proj"),
    *("q_lin", "v_lin", "q_proj", "v_proj", "q", "v"),
}
_SCALE = 2.0  # `alpha / rank` of the paper's best settings; part of the learning rate.


class LowRankDense(tf.keras.layers.Layer):
    """A frozen dense layer plus a trained product of two thin matrices.

    `y = W x + b + 2 · (x A) B`, with A `[input_dim, rank]` random and B
    `[rank, units]` zero, so that training starts at the layer as it was. After Hu et
    al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".

    Args:
        dense: The layer, built.
        rank: Width of the bottleneck.
        seed: Of A.
    """

    def __init__(
        self, dense: tf.keras.layers.Dense, *, rank: int, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**{"name": f"{dense.name}_adapter", **kwargs})
        self.dense = dense
        self.rank = rank
        self.seed = seed
        dense.trainable = False
        input_dim, units = dense.kernel.shape
        scope = dense.kernel.name.rpartition("/")[0]
        self._down = self.add_weight(
            name=f"{scope}/down",
            shape=(input_dim, rank),
            initializer=tf.keras.initializers.RandomNormal(
                stddev=1 / math.sqrt(input_dim), seed=seed
            ),
        )
        self._up = self.add_weight(
            name=f"{scope}/up", shape=(rank, units), initializer="zeros"
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns float `[..., units]` of float `[..., input_dim]`."""
        down = tf.cast(self._down, self.compute_dtype)
        up = tf.cast(self._up, self.compute_dtype)
        low_rank = tf.matmul(tf.matmul(inputs, down), up)
        return self.dense(inputs) + _SCALE * low_rank


def add_adapters(model: Any, *, rank: int, seed: int = 0) -> list[LowRankDense]:
    """Puts adapters on query and value of every block; all else is frozen.

    Args:
        model: `TFPreTrainedModel`, built.
        rank: Width of each adapter.
        seed: Of their start.

    Returns:
        The adapters.

    Raises:
        ValueError: The model has no such layers.
    """
    model.trainable = True
    adapters: list[LowRankDense] = []
    for block in transformer_blocks(model):
        for parent in [block, *_layers_in(block)]:
            for name, layer in _dense_children(parent):
                adapter = LowRankDense(layer, rank=rank, seed=seed + len(adapters))
                setattr(parent, name, adapter)
                adapters.append(adapter)
    if not adapters:
        raise ValueError(
            "`text.training=adapters` needs a model with dense layers for query and "
            f"value. Received: {type(model).__name__} without any. Set `text.training` "
            "to `last_layers`, `full` or `frozen`."
        )
    for adapter in adapters:
        adapter.dense.trainable = False
    _train_only(model, adapters)
    return adapters


def train_last_layers(model: Any, num_layers: int) -> None:
    """Leaves the last blocks trainable and freezes all before them."""
    blocks = transformer_blocks(model)
    if num_layers > len(blocks):
        raise ValueError(
            f"`text.num_trained_layers` must be at most {len(blocks)}, the layers of "
            f"the model. Received: {num_layers}. Lower it, or set `text.training=full`."
        )
    model.trainable = True
    _train_only(model, blocks[-num_layers:])


def transformer_blocks(model: Any) -> list[tf.keras.layers.Layer]:
    """Returns the blocks of a transformer in their order.

    Raises:
        ValueError: There is no list of as many layers as the configuration says.
    """
    num_blocks = model.config.num_hidden_layers
    for layer in _layers_in(model):
        for name, value in vars(layer).items():
            # What starts with `_` are the lists of Keras.
            if name.startswith("_") or not isinstance(value, list):
                continue
            blocks = [b for b in value if isinstance(b, tf.keras.layers.Layer)]
            if len(blocks) == num_blocks and len({type(b) for b in blocks}) == 1:
                return blocks
    raise ValueError(
        "`text.training` needs a model with a list of transformer layers. Received: "
        f"{type(model).__name__}. Set `text.training` to `full` or `frozen`."
    )


def _train_only(model: Any, chosen: Iterable[tf.keras.layers.Layer]) -> None:
    """Freezes every layer that is not chosen, in one, or around one."""
    chosen = list(chosen)
    inside = {id(layer) for top in chosen for layer in [top, *_layers_in(top)]}
    for layer in _layers_in(model):
        around = any(id(inner) in inside for inner in _layers_in(layer))
        if id(layer) not in inside and not around:
            layer.trainable = False


def _layers_in(module: tf.Module) -> list[tf.keras.layers.Layer]:
    return [m for m in module.submodules if isinstance(m, tf.keras.layers.Layer)]


def _dense_children(
    parent: tf.keras.layers.Layer,
) -> Iterator[tuple[str, tf.keras.layers.Dense]]:
    for name, value in list(vars(parent).items()):
        if name in _QUERY_AND_VALUE and isinstance(value, tf.keras.layers.Dense):
            yield name, value
