"""DuoRec and ICSRec, against loops over pairs of histories."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import SCHEMA, to_tensors, toy_model
from tests.synthetic import make_sequences
from tfrec.config import RetrievalConfig
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.views import ViewDrawer, view_kinds
from tfrec.data.windows import find_targets
from tfrec.models.regularisers import (
    encode_views,
    intent_loss,
    pair_loss,
    regularisation,
)
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_losses import total_loss

ITEMS = [5, 6, 5, 9]
WEIGHTS = [1.0, 2.0, 1.0, 0.0]
HAS_SECOND = [True, True, False, True]
TEMPERATURE = 0.5


def unit(seed: int, *shape: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("f4")


def softmax_loss(query: np.ndarray, positive: np.ndarray, negatives: list) -> float:
    logits = np.array([query @ v for v in [positive, *negatives]]) / TEMPERATURE
    return float(np.log(np.exp(logits).sum()) - logits[0])


def plain_pair_loss(first: np.ndarray, second: np.ndarray) -> float:
    total, norm = 0.0, 0.0
    for i, item in enumerate(ITEMS):
        if not HAS_SECOND[i]:
            continue
        others = [j for j, other in enumerate(ITEMS) if other != item and WEIGHTS[j]]
        negatives = [first[j] for j in others]
        negatives += [second[j] for j in others if HAS_SECOND[j]]
        both = softmax_loss(first[i], second[i], negatives)
        both += softmax_loss(second[i], first[i], negatives)
        total += WEIGHTS[i] * both
        norm += 2 * WEIGHTS[i]
    return total / norm


def test_pairs_are_told_from_histories_with_other_targets_alone():
    first, second = unit(0, 4, 3), unit(1, 4, 3)
    found = pair_loss(
        tf.constant(first),
        tf.constant(second),
        tf.constant(ITEMS),
        weights=tf.constant(WEIGHTS),
        has_second=tf.constant(HAS_SECOND),
        temperature=TEMPERATURE,
    )
    np.testing.assert_allclose(found, plain_pair_loss(first, second), rtol=1e-5)


def test_pairs_of_nobody_are_no_loss():
    some = tf.constant(unit(0, 4, 3))
    found = pair_loss(
        some,
        some,
        tf.constant(ITEMS),
        weights=tf.ones(4),
        has_second=tf.zeros(4, tf.bool),
        temperature=TEMPERATURE,
    )
    assert float(found) == 0.0


def test_queries_are_drawn_to_the_nearest_prototype_and_from_all_others():
    queries, prototypes = unit(2, 4, 3), unit(3, 5, 3)
    losses = []
    for query in queries:
        nearest = int(np.argmax(prototypes @ query))
        others = [c for k, c in enumerate(prototypes) if k != nearest]
        losses.append(softmax_loss(query, prototypes[nearest], others))
    watched, centres = tf.constant(queries), tf.Variable(tf.constant(prototypes))
    with tf.GradientTape() as tape:
        tape.watch(watched)
        found = intent_loss(
            watched, centres, weights=tf.constant(WEIGHTS), temperature=TEMPERATURE
        )
    expected = np.average(losses, weights=WEIGHTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    gradients: Any = tape.gradient(found, [watched, centres])
    of_queries, of_centres = gradients
    assert of_centres is None
    assert np.abs(of_queries[:3]).min(axis=1).max() > 0
    np.testing.assert_array_equal(of_queries[3], np.zeros(3))


def batch_with_views(**settings: Any) -> RetrievalBatch:
    """All events of three histories; drawn views of one place in each."""
    config = RetrievalConfig.model_validate(settings)
    # Every item is met by two users at least.
    histories = [[0, 1, 2, 3], [4, 1, 3], [2, 0, 4]]
    sequences = make_sequences(histories, splits=[[0] * len(h) for h in histories])
    targets = find_targets(sequences, SCHEMA)
    kinds = view_kinds(config.regulariser, config.regulariser_share)
    drawer = ViewDrawer(sequences, targets, kinds=kinds, max_length=6, max_queries=9)
    builder = BatchBuilder(
        sequences,
        targets,
        max_length=6,
        batch_tokens=1_000,
        batching="bucketed",
        seed=0,
        view_drawer=drawer,
    )
    (batch,) = builder.epoch(0)
    views = batch.views
    assert isinstance(views, BatchArrays)
    # Here item 3 is the only target of two users: without it nothing is shared.
    return to_tensors(batch._replace(views=()))._replace(views=to_tensors(views))


def model_and_batch(regulariser: str, **more: Any) -> tuple:
    settings = {"regulariser": regulariser, "dropout": 0.2, "num_intents": 4, **more}
    model = toy_model(repeat=False, **settings)
    if model.intent_prototypes is not None:
        model.intent_prototypes.assign(unit(7, 4, 8))
    return model, batch_with_views(**settings)


@pytest.mark.parametrize(
    ("regulariser", "share", "num_kinds"),
    [
        ("duorec", 0.0, 2),
        ("duorec", 0.25, 3),
        ("duorec", 1.0, 2),
        ("icsrec", 0.0, 2),
        ("icsrec", 0.25, 2),
        ("icsrec", 1.0, 2),
    ],
)
def test_the_terms_share_the_weight(regulariser, share, num_kinds):
    model, batch = model_and_batch(
        regulariser,
        regulariser_share=share,
        regulariser_weight=0.3,
        regulariser_temperature=0.4,
    )
    views = batch.views
    weights = np.ones(len(views.target_items), np.float32)
    views = views._replace(target_weights=tf.constant(weights))
    tf.keras.utils.set_random_seed(3)
    parts = tf.split(encode_views(model, views), num_kinds)
    ones = tf.ones(len(weights) // num_kinds)
    items = tf.split(views.target_items, num_kinds)[0]

    def pair(other: int) -> float:
        return float(
            pair_loss(
                parts[0],
                parts[other],
                items,
                weights=ones,
                has_second=ones > 0,
                temperature=0.4,
            )
        )

    if regulariser == "duorec":
        second = pair(num_kinds - 1)
    elif share == 0.0:
        assert model.intent_prototypes is None
        second = 0.0
    else:
        second = np.mean(
            [
                intent_loss(
                    part, model.intent_prototypes, weights=ones, temperature=0.4
                )
                for part in parts
            ]
        )
    tf.keras.utils.set_random_seed(3)
    found = regularisation(model, views)
    expected = 0.3 * ((1 - share) * pair(1) + share * second)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert expected > 1e-3


def test_dropout_makes_two_views_of_one_history():
    model, batch = model_and_batch("duorec", regulariser_share=0.0)
    first, second = tf.split(encode_views(model, batch.views), 2)
    assert np.abs(first - second).max() > 1e-3
    calm = toy_model(repeat=False, regulariser="duorec", regulariser_share=1.0)
    first, second = tf.split(encode_views(calm, batch.views), 2)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_views_are_encoded_like_the_queries_of_the_batch():
    """Without dropout a view is the query of the main batch with the same target."""
    model, batch = model_and_batch(
        "duorec", dropout=0.0, regulariser_share=1.0, regulariser_queries=3
    )
    items = tf.gather(model.item_vectors(), batch.tokens.item_index)
    queries = model.encode_batch(batch, items, None, training=False).embeddings.numpy()
    views = np.split(encode_views(model, batch.views).numpy(), 2)
    target_items = batch.views.target_items.numpy()[:3]
    for own, other, item in zip(*views, target_items, strict=True):
        places = np.flatnonzero(batch.target_items.numpy() == item)
        distances = np.abs(queries[places] - own).max(axis=1)
        np.testing.assert_allclose(distances.min(), 0.0, atol=1e-5)
        # The other view is another query of the same item.
        others = np.delete(places, distances.argmin())
        distances = np.abs(queries[others] - other).max(axis=1)
        np.testing.assert_allclose(distances.min(), 0.0, atol=1e-5)


@pytest.mark.parametrize("loss", ["softmax", "in_batch"])
@pytest.mark.parametrize("regulariser", ["duorec", "icsrec"])
def test_the_regulariser_is_added_in_training_alone(regulariser, loss):
    model, batch = model_and_batch(
        regulariser, loss=loss, dropout=0.0, regulariser_share=1.0
    )
    plain = batch._replace(views=())
    np.testing.assert_allclose(model(batch), model(plain), rtol=1e-6)
    with pytest.raises(ValueError, match=f"regulariser={regulariser}.*views"):
        model(plain, training=True)
    extra = regularisation(model, batch.views)
    counts = [weight.numpy() for weight in model.non_trainable_variables]
    found = model(batch, training=True)
    for weight, value in zip(model.non_trainable_variables, counts, strict=True):
        weight.assign(value)
    expected = total_loss(model, plain, training=True) / len(batch.target_items)
    expected += extra
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert float(extra) > 1e-3


@pytest.mark.parametrize("regulariser", ["duorec", "icsrec"])
def test_a_traced_step_lowers_the_regulariser(regulariser):
    model, batch = model_and_batch(regulariser, regulariser_weight=5.0)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    step = tf.function(model.train_step)
    first = np.mean([float(regularisation(model, batch.views)) for _ in range(5)])
    for _ in range(20):
        step(batch)
    last = np.mean([float(regularisation(model, batch.views)) for _ in range(5)])
    assert last < first - 0.05


def test_prototypes_that_were_never_found_teach_nothing():
    queries = tf.constant(unit(0, 3, 4))
    with tf.GradientTape() as tape:
        tape.watch(queries)
        loss = intent_loss(
            queries, tf.zeros((5, 4)), weights=tf.ones(3), temperature=0.1
        )
    gradient: Any = tape.gradient(loss, queries)
    np.testing.assert_array_equal(gradient, np.zeros((3, 4)))


def test_settings_that_would_do_nothing_are_refused():
    with pytest.raises(ValueError, match=r"dropout=0\.0, regulariser_share=0\.5"):
        RetrievalConfig(regulariser="duorec", dropout=0.0)
    with pytest.raises(ValueError, match="loss=softmax, regulariser=none"):
        RetrievalConfig(cross_replica_negatives=True)
    RetrievalConfig(cross_replica_negatives=True, loss="in_batch")
    RetrievalConfig(cross_replica_negatives=True, regulariser="icsrec")
