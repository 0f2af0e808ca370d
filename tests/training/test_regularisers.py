"""Whole trainings with the regularisers of retrieval, on a ring of items."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import make_config
from tfrec.data.store import PreparedDataset
from tfrec.features.item_table import build_item_table
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.training.finetuning import finetune_retrieval
from tfrec.training.input import builder_spec, endless_batches, make_builder
from tfrec.training.intents import find_prototypes
from tfrec.training.retrieval import train_retrieval


def settings_of(regulariser: str) -> dict:
    return {
        "embedding_dim": 16,
        "feedforward_dim": 16,
        "dropout": 0.1,
        "max_history_length": 5,
        "regulariser": regulariser,
        "num_intents": 8,
    }


def train(
    dataset: PreparedDataset, path: Path, regulariser: str, *, max_epochs: int
) -> tuple[RetrievalModel, dict]:
    stage = {"max_epochs": max_epochs, "patience": 30, "min_steps_per_epoch": 8}
    config = make_config(
        path,
        retrieval=settings_of(regulariser),
        training={"retrieval": {**stage, "optimizer": {"learning_rate": 0.01}}},
    )
    tf.keras.utils.set_random_seed(0)
    return train_retrieval(
        config,
        dataset,
        build_item_table(dataset),
        path=path / "run" / "retrieval",
        strategy=tf.distribute.get_strategy(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("regulariser", ["duorec", "icsrec"])
def test_regularised_training_still_learns_the_cycle(
    regulariser, cycle_dataset, tmp_path
):
    model, history = train(cycle_dataset, tmp_path, regulariser, max_epochs=12)
    assert max(history["validation_NDCG@5"]) > 0.95
    if model.intent_prototypes is None:
        return
    # Eight intents for eight items: nearly each item has one of its own.
    prototypes = model.intent_prototypes.numpy()
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1.0, rtol=1e-5)
    scores = prototypes @ model.candidate_embeddings().numpy().T
    assert len(set(scores.argmax(axis=1).tolist())) >= 6


def test_intents_are_found_anew_for_finetuning(cycle_dataset, tmp_path):
    model, _ = train(cycle_dataset, tmp_path, "icsrec", max_epochs=1)
    assert model.intent_prototypes is not None
    before = model.intent_prototypes.numpy()
    config = make_config(
        tmp_path,
        retrieval=settings_of("icsrec"),
        training={"finetune_epochs": 1},
    )
    finetune_retrieval(
        config, cycle_dataset, model, strategy=tf.distribute.get_strategy()
    )
    assert np.abs(model.intent_prototypes.numpy() - before).max() > 1e-4


def test_more_intents_than_targets_are_refused():
    with pytest.raises(ValueError, match=r"num_intents=5, targets=4"):
        find_prototypes(np.eye(4, dtype=np.float32), 5, seed=0)


def test_prototypes_are_directions_of_the_groups_that_queries_form():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 6, dtype=np.float32)
    noise = 0.05 * rng.normal(size=(90, 6)).astype(np.float32)
    queries = np.repeat(centres, 30, axis=0) + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = find_prototypes(queries, 3, seed=0)
    order = found[np.argsort(found.argmax(axis=1))]
    np.testing.assert_allclose(order, centres, atol=0.05)
    again = find_prototypes(queries, 3, start=found, seed=1)
    # Each stays where it was: the search goes on, it does not begin anew.
    np.testing.assert_allclose(again, found, atol=0.02)


def test_batches_with_views_hold_to_their_spec(cycle_dataset, tmp_path):
    config = make_config(tmp_path, retrieval=settings_of("duorec"))
    sequences = cycle_dataset.load_sequences()
    builder = make_builder(config, sequences, splits=("train",), num_replicas=1)
    (batch,) = endless_batches(builder, lambda: 0).take(1)
    tf.nest.map_structure(
        lambda value, spec: tf.debugging.Assert(spec.is_compatible_with(value), []),
        batch,
        builder_spec(builder),
    )
    own, again, other = np.split(np.asarray(batch.views.target_items), 3)
    np.testing.assert_array_equal(own, again)
    np.testing.assert_array_equal(own, other)


def test_without_a_regulariser_batches_have_no_views_and_are_the_same(
    cycle_dataset, tmp_path
):
    sequences = cycle_dataset.load_sequences()
    plain, regular = (
        make_builder(
            make_config(tmp_path, retrieval=settings_of(name)),
            sequences,
            splits=("train",),
            num_replicas=1,
        )
        for name in ("none", "icsrec")
    )
    first, second = next(iter(plain.epoch(0))), next(iter(regular.epoch(0)))
    assert first.views == ()
    np.testing.assert_array_equal(first.tokens.item_index, second.tokens.item_index)
