"""What every fusion of the registry must hold, and what is special to one."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from tests.contracts import check_layer
from tfrec.config import RankingConfig
from tfrec.models.fusion.fusion import Fusion
from tfrec.models.fusion.registry import FUSIONS, build_fusion

WIDTHS = {
    "query": 4,
    "candidate": 4,
    "match": 4,
    "attended": 4,
    "last_met": 2,
    "context_device": 2,
    "item_brand": 3,
}
NUM_HEADS = 2
every_fusion = pytest.mark.parametrize("name", list(FUSIONS))


def make(name: str, **settings: object) -> Fusion:
    """A fusion whose weights are all away from their start values."""
    config = RankingConfig.model_validate(
        {"fusion": name, "attribute_dim": 3, "cross_dim": 2, "dropout": 0.5, **settings}
    )
    tf.keras.utils.set_random_seed(0)
    fusion = build_fusion(config, num_heads=NUM_HEADS)
    fusion(*inputs())
    for i, weight in enumerate(fusion.trainable_variables):
        noise = tf.random.stateless_normal(tf.shape(weight), (1, i), stddev=0.3)
        weight.assign_add(noise)
    return fusion


def inputs(seed: int = 0) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Two requests of three candidates; query and context are those of a request."""
    rng = np.random.default_rng(seed)
    fields = {
        name: rng.normal(size=(2, 3, width)).astype(np.float32)
        for name, width in WIDTHS.items()
    }
    for name in ("query", "context_device"):
        fields[name][:] = fields[name][:, :1]
    numbers = rng.normal(size=(2, 3, 5)).astype(np.float32)
    return {n: tf.constant(v) for n, v in fields.items()}, tf.constant(numbers)


def taken(
    part: tuple[dict[str, tf.Tensor], tf.Tensor], rows: slice, columns: slice
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    fields, numbers = part
    return {n: v[rows, columns] for n, v in fields.items()}, numbers[rows, columns]


def test_registry_and_configuration_name_the_same_fusions():
    named = get_args(RankingConfig.model_fields["fusion"].annotation)
    assert set(named) == set(FUSIONS)
    assert RankingConfig().fusion == "cross"


def test_an_unknown_fusion_is_refused_with_the_known_ones():
    with pytest.raises(ValidationError, match="'concat'.*'bilinear'"):
        RankingConfig.model_validate({"fusion": "mean"})


@every_fusion
def test_every_fusion_keeps_the_contract_of_layers(name: str):
    arguments = {
        "additive": {"num_heads": NUM_HEADS},
        "cross": {"num_layers": 2, "projection_dim": 2},
        "bilinear": {"interaction_dim": 3},
    }
    # Behind the norms of this one are weights of 0, until the first step.
    asleep = ["layer_normalization"] if name == "additive" else []
    check_layer(
        type(make(name)),
        {"dropout": 0.5, **arguments.get(name, {})},
        inputs(),
        precise=[1],
        without_gradient=asleep,
    )


@every_fusion
def test_one_finite_vector_a_candidate_and_logits_where_it_says_so(name: str):
    fusion = make(name)
    vector = fusion(*inputs())
    assert vector.shape[:2] == (2, 3)
    assert vector.dtype == tf.float32
    assert np.isfinite(vector).all()
    assert fusion.gives_logits == (name == "additive")
    if fusion.gives_logits:
        assert vector.shape[2] == NUM_HEADS


@every_fusion
def test_no_candidate_nor_request_touches_another(name: str):
    fusion, whole = make(name), inputs()
    together = fusion(*whole).numpy()
    for row, column in np.ndindex(2, 3):
        one = slice(row, row + 1), slice(column, column + 1)
        alone = fusion(*taken(whole, *one))
        np.testing.assert_allclose(together[one], alone, atol=1e-5)


@every_fusion
def test_a_gradient_reaches_every_weight(name: str):
    fusion = make(name)
    weights = tf.constant(
        np.random.default_rng(3).normal(size=fusion(*inputs()).shape), tf.float32
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(fusion(*inputs(), training=True) * weights)
    gradients = tape.gradient(total, fusion.trainable_variables)
    for weight, gradient in zip(fusion.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@every_fusion
def test_a_gradient_reaches_every_field_and_number(name: str):
    fusion, (fields, numbers) = make(name), inputs()
    weights = tf.constant(
        np.random.default_rng(3).normal(size=fusion(fields, numbers).shape), tf.float32
    )
    watched = [*fields.values(), numbers]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        total = tf.reduce_sum(fusion(fields, numbers) * weights)
    for part, gradient in zip(
        [*fields, "numbers"], tape.gradient(total, watched), strict=True
    ):
        assert gradient is not None, part
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, part


@every_fusion
def test_dropout_is_for_training_alone(name: str):
    fusion = make(name)
    np.testing.assert_array_equal(fusion(*inputs()), fusion(*inputs()))
    dropped = fusion(*inputs(), training=True)
    assert np.abs(dropped - fusion(*inputs())).max() > 0


@every_fusion
def test_a_saved_fusion_gives_the_same(name: str, tmp_path: Path):
    fusion = make(name)
    spec = tf.nest.map_structure(
        lambda value: tf.TensorSpec([None, None, value.shape[-1]], value.dtype),
        inputs(),
    )
    module = tf.Module()
    module.fusion = fusion  # pyright: ignore[reportAttributeAccessIssue]
    module.run = tf.function(  # pyright: ignore[reportAttributeAccessIssue]
        lambda fields, numbers: fusion(fields, numbers), input_signature=spec
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.run(*inputs())  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(found, fusion(*inputs()), atol=1e-6)


@every_fusion
def test_no_request_and_no_candidate_give_nothing(name: str):
    fusion = make(name)
    assert fusion(*taken(inputs(), slice(0, 0), slice(None))).shape[:2] == (0, 3)
    assert fusion(*taken(inputs(), slice(None), slice(0, 0))).shape[:2] == (2, 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def normalised(layer: tf.keras.layers.Layer, parts: list[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts, axis=-1)
    centred = joined - joined.mean(axis=-1, keepdims=True)
    gamma, beta = (weight.numpy() for weight in layer.weights)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True)) * gamma + beta


def arrays(fields: dict[str, tf.Tensor], *left_out: str) -> list[np.ndarray]:
    return [v.numpy() for name, v in fields.items() if name not in left_out]


def test_concat_lays_normalised_fields_and_numbers_side_by_side():
    fusion, (fields, numbers) = make("concat"), inputs()
    expected = [normalised(fusion.norm, arrays(fields)), numbers]
    np.testing.assert_allclose(
        fusion(fields, numbers), np.concatenate(expected, axis=-1), atol=1e-4
    )


def test_weights_of_fields_follow_from_numbers_and_query():
    fusion, (fields, numbers) = make("weighted"), inputs()
    names, weights = fusion.field_weights(fields, numbers)
    assert names == tuple(WIDTHS)
    kernel, bias = fusion.importance.get_weights()
    state = np.concatenate([numbers, fields["query"]], axis=-1)
    expected = softmax(state @ kernel + bias)
    np.testing.assert_allclose(weights, expected, rtol=1e-4)
    np.testing.assert_allclose(np.sum(weights, axis=-1), np.ones((2, 3)), rtol=1e-5)
    weighted = [
        7 * expected[..., i : i + 1] * field for i, field in enumerate(arrays(fields))
    ]
    np.testing.assert_allclose(
        fusion(fields, numbers)[..., :-5], normalised(fusion.norm, weighted), atol=1e-4
    )


@pytest.mark.parametrize("name", ["weighted", "gated"])
def test_all_fields_count_the_same_before_training(name: str):
    config = RankingConfig.model_validate({"fusion": name})
    fusion = build_fusion(config, num_heads=1)
    plain = build_fusion(RankingConfig(fusion="concat"), num_heads=1)
    np.testing.assert_allclose(fusion(*inputs()), plain(*inputs()), atol=1e-5)


def test_gates_open_and_close_whole_fields():
    fusion, (fields, numbers) = make("gated"), inputs()
    kernel = np.zeros(fusion.gates.kernel.shape, np.float32)
    bias = np.zeros(7, np.float32)
    bias[1], bias[2] = -30.0, 30.0  # The item is shut, the match is open.
    fusion.gates.set_weights([kernel, bias])
    plain = normalised(fusion.norm, arrays(fields))
    gates = np.repeat([1, 0, 2, 1, 1, 1, 1], list(WIDTHS.values()))
    np.testing.assert_allclose(
        fusion(fields, numbers)[..., :-5], plain * gates, atol=1e-4
    )


def test_cross_multiplies_with_the_start_and_cuts_numbers_off():
    fusion = make("cross", cross_layers=2)
    fields, numbers = inputs()
    far = numbers.numpy()
    far[:, :, 0] = -1000.0
    cut = np.clip(far, -5, 5)
    start = np.concatenate([normalised(fusion.norm, arrays(fields)), cut], axis=-1)
    crossed = start
    for layer in fusion.crosses:
        left, right, bias = layer.get_weights()
        crossed = start * (crossed @ left @ right + bias) + crossed
    np.testing.assert_allclose(
        fusion(fields, tf.constant(far)), crossed, rtol=1e-3, atol=1e-3
    )


def test_every_two_fields_meet_in_the_bilinear_fusion():
    fusion, (fields, numbers) = make("bilinear"), inputs()
    values = [
        field @ project.kernel.numpy()
        for field, project in zip(arrays(fields), fusion.projections, strict=True)
    ]
    pairs = [
        (values[i] @ fusion.left[i].kernel.numpy()) * values[j]
        for i in range(7)
        for j in range(i + 1, 7)
    ]
    expected = normalised(fusion.norm, [*arrays(fields), *pairs])
    np.testing.assert_allclose(
        fusion(fields, numbers)[..., :-5], expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("name", ["weighted", "additive"])
def test_a_missing_query_is_named(name: str):
    fusion = build_fusion(RankingConfig.model_validate({"fusion": name}), num_heads=1)
    fields, numbers = inputs()
    del fields["query"]
    with pytest.raises(ValueError, match="query"):
        fusion(fields, numbers)
