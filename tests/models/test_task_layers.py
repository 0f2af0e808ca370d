from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.config import RankingConfig
from tfrec.models.task_layers import (
    MixtureOfExperts,
    ProgressiveExtraction,
    SharedBottom,
    build_task_layers,
)
from tfrec.models.task_towers import DenseTower, ExtractionLevel, TaskLogits

SHAPE = {"num_tasks": 3, "hidden_dims": (5, 4), "task_dims": (2,), "dropout": 0.4}
LAYERS: list[tuple[type[tf.keras.layers.Layer], dict[str, Any]]] = [
    (SharedBottom, SHAPE),
    (MixtureOfExperts, {**SHAPE, "num_experts": 2}),
    (
        ProgressiveExtraction,
        {
            "num_tasks": 2,
            "hidden_dims": (4,),
            "task_dims": (2,),
            "dropout": 0.4,
            "num_experts": 1,
            "num_task_experts": 1,
            "num_levels": 2,
        },
    ),
]


def candidates(*, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 4, 6)).astype(np.float32)


@pytest.mark.parametrize(("layer", "arguments"), LAYERS)
def test_task_layers_keep_the_contract_of_layers(layer, arguments):
    check_layer(layer, arguments, [candidates()])


@pytest.mark.parametrize(("layer", "arguments"), LAYERS)
def test_every_task_gets_a_representation_of_its_own(layer, arguments):
    z = layer(**arguments)(candidates())
    num_tasks = arguments["num_tasks"]
    assert z.shape == (2, 4, num_tasks, 2)
    for task in range(1, num_tasks):
        assert np.abs(z[:, :, task] - z[:, :, 0]).max() > 1e-4


def test_a_shared_bottom_without_towers_is_one_for_all_tasks():
    layer = SharedBottom(3, (5,), (), dropout=0.0)
    x = candidates()
    z = layer(x)
    assert z.shape == (2, 4, 1, 5)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(z[:, :, 0], tf.nn.gelu(x @ kernel + bias), atol=1e-5)


def test_tower_without_layers_gives_its_input_back():
    x = candidates()
    np.testing.assert_array_equal(DenseTower((), dropout=0.5)(x), x)


def test_experts_are_mixed_by_the_gate_of_each_task():
    layer = MixtureOfExperts(2, (3,), (), num_experts=2, dropout=0.0)
    x = candidates()
    z = layer(x)
    experts = [expert(x).numpy() for expert in layer.experts]
    for task, gate in enumerate(layer.gates):
        logits = x @ gate.kernel.numpy()
        weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        expected = sum(weights[..., e, None] * experts[e] for e in range(2))
        np.testing.assert_allclose(z[:, :, task], expected, atol=1e-5)


def test_a_task_does_not_see_the_experts_of_another_in_one_level():
    arguments = {"num_experts": 1, "num_task_experts": 1, "dropout": 0.0}

    def changed_by_other(num_levels: int) -> float:
        layer = ProgressiveExtraction(2, (3,), (), num_levels=num_levels, **arguments)
        before = layer(candidates()).numpy()
        for weight in layer.levels[0].own[1].trainable_weights:  # Of task 1.
            weight.assign_add(tf.ones_like(weight))
        after = layer(candidates()).numpy()
        assert np.abs(after - before)[:, :, 1].max() > 1e-3
        return float(np.abs(after - before)[:, :, 0].max())

    assert changed_by_other(1) == 0.0
    assert changed_by_other(2) > 1e-4  # Through the shared part of the level between.


def test_logits_start_at_zero_and_are_those_of_each_task():
    layer = TaskLogits(3)
    z = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(layer(z), np.zeros((2, 4, 3)))
    kernel = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    layer.set_weights([kernel, np.array([1.0, 2.0, 3.0])])
    expected = np.stack([z[:, :, t] @ kernel[:, t] + t + 1 for t in range(3)], axis=-1)
    np.testing.assert_allclose(layer(z), expected, atol=1e-5)
    shared = layer(z[:, :, :1])
    np.testing.assert_allclose(shared, z[:, :, 0] @ kernel + [1, 2, 3], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("shared_bottom", SharedBottom),
        ("mmoe", MixtureOfExperts),
        ("ple", ProgressiveExtraction),
    ],
)
def test_configuration_names_the_layer_and_gives_all_its_arguments(name, layer):
    config = RankingConfig(
        task_layers=name,
        hidden_dims=(7,),
        task_dims=(3,),
        num_experts=2,
        num_task_experts=3,
        num_expert_levels=4,
        dropout=0.1,
    )
    built = build_task_layers(config, 2)
    assert type(built) is layer
    found = built.get_config()
    expected = {"num_tasks": 2, "hidden_dims": (7,), "task_dims": (3,), "dropout": 0.1}
    if name != "shared_bottom":
        expected["num_experts"] = 2
    if name == "ple":
        expected |= {"num_task_experts": 3, "num_levels": 4}
    assert {key: found[key] for key in expected} == expected


def test_numbers_that_make_no_layer_are_named():
    with pytest.raises(ValueError, match="num_tasks=0"):
        SharedBottom(0, (3,), (), dropout=0.0)
    with pytest.raises(ValueError, match="num_experts=0"):
        MixtureOfExperts(2, (3,), (), num_experts=0, dropout=0.0)
    with pytest.raises(ValueError, match="hidden_dims"):
        MixtureOfExperts(2, (), (), num_experts=2, dropout=0.0)
    with pytest.raises(ValueError, match="num_levels=0"):
        ProgressiveExtraction(
            2, (3,), (), num_experts=1, num_task_experts=1, num_levels=0, dropout=0.0
        )


def test_a_level_is_made_again_from_its_configuration():
    shape = {"num_tasks": 2, "hidden_dims": (4,), "dropout": 0.4}
    own = {"num_experts": 1, "num_task_experts": 3, "is_last": True}
    level = ExtractionLevel.from_config(ExtractionLevel(**shape, **own).get_config())
    assert {**shape, **own}.items() <= level.get_config().items()
