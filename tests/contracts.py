"""What every layer, loss and preprocessor must hold, one call each."""

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def check_layer(
    layer_class: type[tf.keras.layers.Layer],
    arguments: Mapping[str, Any],
    inputs: Sequence[Any],
    *,
    atol: float = 1e-5,
    precise: Sequence[int] = (),
    without_gradient: Sequence[str] = (),
    save: bool = True,
) -> None:
    """Checks what is true of every layer with weights.

    Its configuration survives a round trip, eager = `tf.function` with an unknown
    batch size, float16 stays finite, a saved and loaded layer gives the same
    output, and a gradient reaches every weight.

    Args:
        layer_class: The class.
        arguments: All its arguments, none of them with its default.
        inputs: Call arguments in order, arrays or nests of them, batch dimension
            first.
        atol: Greatest allowed difference of two ways to compute the same.
        precise: Places of inputs that are float32 under any policy; if there are
            some, the output is float32, too.
        without_gradient: Parts of names of weights that need no gradient.
        save: False for layers that no functional Keras model can hold.
    """
    _check_not_default(layer_class, arguments)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, list(inputs))
    tf.random.set_seed(0)
    layer = layer_class(**arguments)
    output = layer(*tensors)
    _check_config(layer_class, layer, arguments)
    _check_unknown_batch(layer, tensors, output, atol)
    _check_float16(layer_class, arguments, tensors, precise)
    if save:
        _check_save(layer_class, arguments, tensors, atol)
    _check_gradients(layer, tensors, without_gradient)


def check_loss(
    loss: Loss,
    *,
    logits: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    expected: float | np.ndarray,
    atol: float = 1e-5,
) -> None:
    """Checks what is true of every loss over candidates.

    The value is `expected`, masked candidates change nothing, extreme logits and
    their gradients stay finite, all masked gives 0, and the order of candidates
    does not matter.

    Args:
        loss: Takes logits, labels and mask; wrap other forms in a lambda.
        logits: float `[num_queries, num_candidates]`.
        labels: The same shape.
        mask: bool, the same shape, True for real candidates; some are False.
        expected: The value, derived by hand in the test.
        atol: Greatest allowed difference.
    """
    assert not mask.all(), "Mask a candidate, or this contract tests nothing."
    logits = np.asarray(logits, np.float32)
    labels = np.asarray(labels, np.float32)
    value = _evaluate(loss, logits, labels, mask)
    np.testing.assert_allclose(value, expected, atol=atol, err_msg="value")
    for garbage in (50.0, -50.0):
        changed = _evaluate(
            loss, np.where(mask, logits, garbage), np.where(mask, labels, 0), mask
        )
        np.testing.assert_allclose(changed, value, atol=atol, err_msg="masked logits")
    for scale in (1e4, -1e4):
        extreme = tf.constant(logits * scale)
        with tf.GradientTape() as tape:
            tape.watch(extreme)
            result = loss(extreme, tf.constant(labels), tf.constant(mask))
        assert np.isfinite(result).all(), "extreme logits"
        gradient = tf.convert_to_tensor(tape.gradient(result, extreme))
        assert np.isfinite(gradient).all(), "extreme gradient"
    nothing = _evaluate(loss, logits, labels, np.zeros_like(mask))
    np.testing.assert_allclose(nothing, 0.0, atol=0, err_msg="all masked")
    order = np.random.default_rng(0).permutation(logits.shape[-1])
    shuffled = _evaluate(loss, logits[:, order], labels[:, order], mask[:, order])
    np.testing.assert_allclose(shuffled, value, atol=atol, err_msg="permuted")


def check_preprocessor(
    function: Callable[..., Any],
    inputs: Sequence[np.ndarray],
    *,
    resources: tf.Module | None = None,
) -> None:
    """Checks that what prepares inputs does the same wherever it runs.

    A direct call, `tf.data` example by example, `tf.data` by batches, and a loaded
    SavedModel give the same. Batches may be as wide as their longest example needs;
    what is missing counts as zeros or "".

    Args:
        function: Takes tensors with a batch dimension of any size, gives one or a
            structure of them.
        inputs: Its arguments, three examples or more; bytes or str as object arrays.
        resources: What holds the tables of the function, for the SavedModel.
    """
    tensors = tuple(tf.convert_to_tensor(value) for value in inputs)
    assert len(inputs[0]) >= 3, "Give three examples, so that batches differ."
    expected = [t.numpy() for t in tf.nest.flatten(function(*tensors))]
    data = tf.data.Dataset.from_tensor_slices(tensors)
    for size, way in ((1, "example by example"), (2, "by batches")):
        parts = [tf.nest.flatten(part) for part in data.batch(size).map(function)]
        for place, whole in enumerate(expected):
            found = [_widened(part[place].numpy(), whole) for part in parts]
            np.testing.assert_array_equal(np.concatenate(found), whole, err_msg=way)
    spec = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors]
    module: Any = tf.Module()
    module.resources = resources
    module.run = tf.function(
        lambda *given: dict(_numbered(function(*given))), input_signature=spec
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        loaded = tf.saved_model.load(folder).run(*tensors)
    for place, whole in enumerate(expected):
        found = loaded[str(place)].numpy()
        np.testing.assert_array_equal(found, whole, err_msg="inside a SavedModel")


def _numbered(outputs: Any) -> Any:
    """Returns pairs of a number as text and a tensor: SavedModels want names."""
    return ((str(n), t) for n, t in enumerate(tf.nest.flatten(outputs)))


def _widened(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Fills up all axes but the first to those of `like`."""
    sizes = zip(values.shape[1:], like.shape[1:], strict=True)
    missing = [(0, 0), *((0, wide - narrow) for narrow, wide in sizes)]
    filling = b"" if values.dtype == object else 0
    return np.pad(values, missing, constant_values=filling)


def _evaluate(
    loss: Loss, logits: np.ndarray, labels: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    values = (logits.astype(np.float32), labels.astype(np.float32), mask)
    return np.asarray(loss(*(tf.constant(value) for value in values)))


def _check_not_default(layer_class: type, arguments: Mapping[str, Any]) -> None:
    for name, parameter in inspect.signature(layer_class).parameters.items():
        if parameter.kind == inspect.Parameter.VAR_KEYWORD:
            continue
        assert name in arguments, f"Give `{name}`, not its default."
        if parameter.default is not inspect.Parameter.empty:
            assert arguments[name] != parameter.default, f"`{name}` is the default."


def _check_config(
    layer_class: type[tf.keras.layers.Layer],
    layer: tf.keras.layers.Layer,
    arguments: Mapping[str, Any],
) -> None:
    config = layer.get_config()
    for name, value in arguments.items():
        assert config.get(name) == value, f"get_config loses `{name}`: {config}."
    restored = layer_class.from_config(config)
    assert restored.get_config() == config, "from_config(get_config()) differs."


def _check_unknown_batch(
    layer: tf.keras.layers.Layer,
    tensors: Sequence[Any],
    output: tf.Tensor,
    atol: float,
) -> None:
    specs = tf.nest.map_structure(
        lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), tensors
    )
    traced = tf.function(lambda *a: layer(*a), input_signature=specs)
    np.testing.assert_allclose(
        traced(*tensors), output, atol=atol, err_msg="tf.function"
    )
    first = traced(*tf.nest.map_structure(lambda t: t[:1], tensors))
    np.testing.assert_allclose(first, output[:1], atol=atol, err_msg="batch of one")


def _check_float16(
    layer_class: type[tf.keras.layers.Layer],
    arguments: Mapping[str, Any],
    tensors: Sequence[Any],
    precise: Sequence[int],
) -> None:
    half = [
        value if place in precise else tf.nest.map_structure(_halved, value)
        for place, value in enumerate(tensors)
    ]
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:  # The global policy reaches layers inside the layer, `dtype` would not.
        output = layer_class(**arguments)(*half)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    expected = tf.float32 if precise else tf.float16
    assert output.dtype == expected, f"mixed_float16 gives {output.dtype}."
    assert np.isfinite(output).all(), "float16 is not finite."


def _halved(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float16) if tensor.dtype.is_floating else tensor


def _check_save(
    layer_class: type[tf.keras.layers.Layer],
    arguments: Mapping[str, Any],
    tensors: Sequence[Any],
    atol: float,
) -> None:
    places = tf.nest.map_structure(
        lambda t: tf.keras.Input(t.shape[1:], dtype=t.dtype), tensors
    )
    model = tf.keras.Model(places, layer_class(**arguments)(*places))
    for i, weight in enumerate(model.trainable_weights):
        # Away from its start, which a weight that was lost would have, too.
        noise = tf.random.stateless_normal(tf.shape(weight), (0, i), stddev=0.1)
        weight.assign_add(noise)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.keras"
        model.save(path)
        known = {layer_class.__name__: layer_class}
        loaded = tf.keras.models.load_model(path, custom_objects=known)
    np.testing.assert_allclose(
        loaded(tensors), model(tensors), atol=atol, err_msg="loaded"
    )


def _check_gradients(
    layer: tf.keras.layers.Layer,
    tensors: Sequence[Any],
    without_gradient: Sequence[str],
) -> None:
    with tf.GradientTape() as tape:
        output = layer(*tensors)
        # Unequal weights: a sum alone is blind behind a softmax or a norm.
        weights = np.random.default_rng(0).normal(size=output.shape)
        total = tf.reduce_sum(output * tf.constant(weights, output.dtype))
    gradients = tape.gradient(total, layer.trainable_weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        if any(part in weight.name for part in without_gradient):
            continue
        assert gradient is not None, f"No gradient reaches {weight.name}."
        dense = tf.convert_to_tensor(gradient).numpy()
        assert np.abs(dense).max() > 0, f"The gradient of {weight.name} is zero."
