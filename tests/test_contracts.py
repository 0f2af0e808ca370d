"""The contracts must fail on layers and losses that break them."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer, check_loss, check_preprocessor
from tfrec.models.target_attention import TargetAttention

ROWS = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")


class _Scale(tf.keras.layers.Layer):
    """A correct layer: multiplies by a learned number and a fixed one."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(name="scale", shape=[int(input_shape[-1])])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * tf.cast(self.scale, x.dtype) * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class _ForgetsFactor(_Scale):
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("factor")
        return config


class _StopsGradient(_Scale):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.stop_gradient(super().call(x))


class _MixesRows(_Scale):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return super().call(x) + tf.reduce_mean(x, axis=0)


class _ForgetsWeights(_Scale):
    def build(self, input_shape: Any) -> None:
        shape = [int(input_shape[-1])]
        self.scale = self.add_weight(name="scale", shape=shape, initializer="zeros")

    def load_own_variables(self, store: Any) -> None:
        del store


class _OverflowsHalf(_Scale):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return super().call(x) + tf.cast(1e6 * tf.ones_like(x), x.dtype)


class _AddsPrecisely(_Scale):
    """Takes a nest of inputs, and one that keeps its digits."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(factor, autocast=False, **kwargs)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape["x"])

    def call(self, fields: dict[str, tf.Tensor], numbers: tf.Tensor) -> tf.Tensor:
        return tf.cast(super().call(fields["x"]), numbers.dtype) + numbers

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return config


class _RoundsNumbers(_AddsPrecisely):
    def call(self, fields: dict[str, tf.Tensor], numbers: tf.Tensor) -> tf.Tensor:
        return tf.cast(super().call(fields, numbers), fields["x"].dtype)


def test_a_correct_layer_passes() -> None:
    check_layer(_Scale, {"factor": 2.0}, [ROWS])


def test_inputs_may_be_nests_and_some_keep_their_digits() -> None:
    check_layer(_AddsPrecisely, {"factor": 2.0}, [{"x": ROWS}, ROWS], precise=[1])
    with pytest.raises(AssertionError, match="mixed_float16 gives .*float16"):
        check_layer(_RoundsNumbers, {"factor": 2.0}, [{"x": ROWS}, ROWS], precise=[1])


def test_target_attention_holds_the_contract() -> None:
    random = np.random.default_rng(2)
    candidates = random.normal(size=(3, 2, 4)).astype("float32")
    history = random.normal(size=(3, 5, 4)).astype("float32")
    mask = np.array([[True] * 5, [True, True, False, False, False], [True] * 5])
    types = np.array([[2, 3, 2, 3, 2]] * 3)
    hours = random.uniform(0.0, 99.0, (3, 5)).astype("float32")
    near = np.array([[[True] * 5, [False, True, True, True, True]]] * 3)
    check_layer(
        TargetAttention,
        {"units": 2, "num_heads": 2, "num_event_types": 2},
        [candidates, history, mask, types, hours, near],
    )


@pytest.mark.parametrize(
    ("layer_class", "message"),
    [
        (_ForgetsFactor, "get_config loses `factor`"),
        (_StopsGradient, "No gradient reaches"),
        (_MixesRows, "batch of one"),
        (_ForgetsWeights, "loaded"),
        (_OverflowsHalf, "float16 is not finite"),
    ],
)
def test_a_broken_layer_fails(
    layer_class: type[tf.keras.layers.Layer], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_layer(layer_class, {"factor": 2.0}, [ROWS])


def test_a_default_argument_fails() -> None:
    with pytest.raises(AssertionError, match="`factor` is the default"):
        check_layer(_Scale, {"factor": 1.0}, [ROWS])


LOGITS = np.array([[0.0, np.log(3.0), 7.0]])
LABELS = np.array([[0.0, 1.0, 0.0]])
MASK = np.array([[True, True, False]])
# Over the two real candidates the softmax is (1/4, 3/4): the loss is log(4/3).
EXPECTED = np.log(4 / 3)


def _softmax_loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    logits = tf.where(mask, logits, logits.dtype.min)
    log_probabilities = tf.nn.log_softmax(logits)
    return -tf.reduce_sum(tf.where(mask, labels * log_probabilities, 0.0))


def _ignores_mask(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    del mask
    return -tf.reduce_sum(labels * tf.nn.log_softmax(logits))


def _overflows(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    raised = tf.where(mask, tf.exp(tf.where(mask, logits, 0.0)), 0.0)
    total = tf.reduce_sum(raised, axis=-1, keepdims=True)
    ratio = tf.where(mask, raised / total, 1.0)
    return -tf.reduce_sum(labels * tf.math.log(ratio))


def test_a_correct_loss_passes() -> None:
    check_loss(
        _softmax_loss, logits=LOGITS, labels=LABELS, mask=MASK, expected=EXPECTED
    )


def test_a_loss_with_another_value_fails() -> None:
    with pytest.raises(AssertionError, match="value"):
        check_loss(
            lambda *a: 2 * _softmax_loss(*a),
            logits=LOGITS,
            labels=LABELS,
            mask=MASK,
            expected=EXPECTED,
        )


def test_a_loss_that_reads_masked_candidates_fails() -> None:
    value = _ignores_mask(*map(tf.constant, (LOGITS, LABELS, MASK))).numpy()
    with pytest.raises(AssertionError, match="masked logits"):
        check_loss(
            _ignores_mask, logits=LOGITS, labels=LABELS, mask=MASK, expected=value
        )


def test_a_loss_that_overflows_fails() -> None:
    with pytest.raises(AssertionError, match="extreme logits"):
        check_loss(
            _overflows,
            logits=LOGITS,
            labels=LABELS,
            mask=MASK,
            expected=EXPECTED,
        )


def test_preprocessors_that_look_at_the_batch_break_their_contract() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)
    check_preprocessor(lambda x: 2.0 * x, [values])
    with pytest.raises(AssertionError, match="example by example"):
        check_preprocessor(lambda x: x - tf.reduce_mean(x, axis=0), [values])
    with pytest.raises(AssertionError, match="three examples"):
        check_preprocessor(lambda x: x, [values[:2]])
