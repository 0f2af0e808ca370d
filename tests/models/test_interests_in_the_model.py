"""The retrieval model with queries of several vectors: train, serve, rank alike."""

from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_recommender import make_ranking_model
from tests.models.toys import (
    NUM_ITEMS,
    SCHEMA,
    builder,
    one_batch,
    plain_item_table,
    request,
    to_tensors,
    toy_model,
    toy_sequences,
)
from tests.synthetic import make_sequences
from tfrec.config import RankingConfig, RetrievalConfig, SequenceEncoderName
from tfrec.features.item_table import ItemTable
from tfrec.models.ranking_model import RankingInputs
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel

LOSSES = get_args(RetrievalConfig.model_fields["loss"].annotation)
SETTINGS: dict[str, dict[str, Any]] = {
    # As many draws of 8 items leave none out, but once in 10^29.
    "sampled_softmax": {"num_sampled_negatives": 512},
    "gbce": {"num_sampled_negatives": 512},
}


@pytest.fixture(scope="module")
def model() -> RetrievalModel:
    return toy_model(num_interests=3)


def scores_of(model: RetrievalModel, **inputs: Any) -> np.ndarray:
    encoded = model.encode(request(**inputs), model.item_vectors())
    return model.logits(encoded, model.candidate_embeddings()).numpy()


def test_score_is_the_greatest_product_over_temperature_plus_bias():
    model = toy_model(num_interests=3, repeat=False)
    encoded = model.encode(request([[3, 4, 8]]), model.item_vectors())
    vectors = encoded.embeddings.numpy()
    assert vectors.shape == (1, 3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), np.ones((1, 3)), 1e-5)
    products = vectors[0] @ model.candidate_embeddings().numpy().T
    assert len(set(products.argmax(axis=0))) > 1, "one interest does it all"
    expected = products.max(axis=0) / np.exp(model.log_temperature.numpy())
    found = scores_of(model, items=[[3, 4, 8]])
    np.testing.assert_allclose(found, [expected + model.item_bias()], rtol=1e-5)


CAUSAL = [name for name in get_args(SequenceEncoderName) if name != "bert4rec"]


@pytest.mark.parametrize("encoder", CAUSAL)
def test_loss_of_rows_is_the_mean_over_queries_asked_one_by_one(encoder):
    model = toy_model(num_interests=2, encoder=encoder)
    sequences = toy_sequences()
    losses = []
    for user in range(sequences.num_users):
        start, stop = sequences.offsets[user : user + 2]
        for event in range(start, stop):
            past = slice(start, event)
            row = scores_of(
                model,
                items=[sequences.item_index[past].tolist() or [0]],
                timestamps=[sequences.timestamps[past].tolist() or [0]],
                dwell=[sequences.dwell_seconds[past].tolist() or [0.0]],
                now=[int(sequences.timestamps[event])],
            )[0]
            positive = row[sequences.item_index[event] - 2]
            losses.append(np.log(np.exp(row).sum()) - positive)
    for batching in ("bucketed", "packed"):
        batch = one_batch(sequences, max_length=6, batching=batching)
        np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)


def test_a_sample_of_all_items_has_loss_and_gradients_of_the_exact_softmax():
    batch = one_batch(toy_sequences(), max_length=6)
    found = []
    for loss in ("softmax", "sampled_softmax"):
        settings = SETTINGS.get(loss, {})
        model = toy_model(num_interests=2, repeat=False, loss=loss, **settings)
        with tf.GradientTape() as tape:
            value = model(batch)
        gradients = tape.gradient(value, model.trainable_variables)
        dense = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
        found.append([value.numpy(), *dense])
    for exact, sampled in zip(*found, strict=True):
        np.testing.assert_allclose(sampled, exact, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_reaches_every_weight_and_falls(loss):
    repeat = loss == "softmax"
    settings = {"loss": loss, **SETTINGS.get(loss, {})}
    model = toy_model(num_interests=2, repeat=repeat, **settings)
    batch = one_batch(toy_sequences(), max_length=6)
    with tf.GradientTape() as tape:
        first = model(batch, training=True)
    gradients = tape.gradient(first, model.trainable_variables)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    for _ in range(15):
        model.train_step(batch)
    assert float(model(batch)) < float(first) - 0.02


def test_interests_that_pool_nothing_are_the_query_of_one_vector(model):
    """The same weights but for those of the pooling, which is silenced."""
    one, several = toy_model(), model
    kept = [w for w in several.weights if "interest_pooling" not in w.name]
    assert [w.shape for w in kept] == [w.shape for w in one.weights]
    assert len(kept) == len(several.weights) - 3
    before = [w.numpy() for w in several.weights]
    for weight, value in zip(kept, one.weights, strict=True):
        weight.assign(value)
    assert several.query_tower.interests is not None
    several.query_tower.interests.kernel.assign(tf.zeros((3, 8, 8)))
    inputs = {"items": [[2, 3, 2], [5, 0, 0]], "now": [9, 7]}
    expected = scores_of(one, **inputs)
    np.testing.assert_allclose(scores_of(several, **inputs), expected, rtol=1e-5)
    batch = one_batch(toy_sequences(), max_length=6)
    np.testing.assert_allclose(several(batch), one(batch), rtol=1e-5)
    for weight, value in zip(several.weights, before, strict=True):
        weight.assign(value)


def test_the_configuration_of_the_tower_keeps_its_number_of_interests(model):
    tower = model.query_tower
    restored = type(tower).from_config(tower.get_config())
    assert restored.interests is not None
    assert restored.interests.num_interests == 3


def test_no_request_has_no_scores(model):
    none = tf.nest.map_structure(lambda value: value[:0], request([[2, 3]]))
    encoded = model.encode(none, model.item_vectors())
    assert encoded.embeddings.shape == (0, 3, 8)
    assert model.scores(encoded, model.candidate_embeddings()).shape == (0, NUM_ITEMS)


def test_ranking_compares_a_candidate_with_the_interest_that_retrieves_it(model):
    ranking = make_ranking_model()
    recommender = TrainedRecommender(model, ranking, num_candidates=3)
    ranking.items.assign(model.item_vectors())
    past, index = request([[3, 4, 8]]), tf.constant([[2, 5, 7, 9]])
    encoded = recommender.encode(past)
    scores = tf.gather(recommender.scores_of(encoded), index - 2, batch_dims=1)
    inputs = RankingInputs(past, encoded.embeddings, index, scores)
    query = ranking.fields(inputs)[0]["query"].numpy()[0]
    vectors = encoded.embeddings.numpy()[0]
    for item, found in zip(index.numpy()[0], query, strict=True):
        best = vectors @ model.candidate_embeddings().numpy()[item - 2]
        np.testing.assert_array_equal(found, vectors[best.argmax()])
    ranked = recommender.rank(past, index, scores, encoded=encoded)
    one_by_one = [
        recommender.rank(past, index[:, c : c + 1], scores[:, c : c + 1]).scores[0, 0]
        for c in range(4)
    ]
    np.testing.assert_allclose(ranked.scores[0], one_by_one, atol=1e-5)
    assert recommender.forecast(past).expected_items.keys() == set(SCHEMA.heads)


@pytest.mark.parametrize(
    "fusion", get_args(RankingConfig.model_fields["fusion"].annotation)
)
def test_the_order_of_candidates_does_not_change_their_scores(model, fusion):
    ranking = make_ranking_model(fusion=fusion)
    recommender = TrainedRecommender(model, ranking, num_candidates=NUM_ITEMS)
    ranking.items.assign(model.item_vectors())
    past, index = request([[3, 4, 8]]), tf.range(2, NUM_ITEMS + 2)[tf.newaxis]
    encoded = recommender.encode(past)
    scores = recommender.scores_of(encoded)
    inputs = RankingInputs(past, encoded.embeddings, index, scores)
    queries = ranking.fields(inputs)[0]["query"].numpy()[0]
    assert len(np.unique(queries, axis=0)) > 1, "one interest does it all"
    order = np.argsort(queries[:, 0])  # First and last are of different interests.
    index, scores = (tf.gather(part, order, axis=1) for part in (index, scores))
    forth = recommender.rank(past, index, scores, encoded=encoded).scores
    back = recommender.rank(
        past, index[:, ::-1], scores[:, ::-1], encoded=encoded
    ).scores
    np.testing.assert_allclose(back[:, ::-1], forth, rtol=1e-4)


def test_a_search_turns_every_interest_towards_its_words():
    text = np.random.default_rng(0).normal(size=(NUM_ITEMS + 2, 3)).astype(np.float32)
    text[:2] = 0.0
    counts = plain_item_table().train_count
    config = RetrievalConfig(embedding_dim=8, dropout=0.0, num_interests=2)
    tf.keras.utils.set_random_seed(0)
    model = RetrievalModel(
        config,
        SCHEMA,
        ItemTable(counts, {}, {}, {}, {}, text),
        has_repeat_bias=False,
        context_sizes={},
        text_pooling="mean",
        search_texts=text,
    )
    batch = one_batch(toy_sequences(), max_length=6)
    model(batch._replace(target_search=tf.ones_like(batch.target_items)))
    assert model.query_tower.search is not None
    model.query_tower.search.length.assign(1e3)  # Nothing but the search counts.
    asked = request([[2, 3]])._replace(query_text=tf.constant(text[[5]]))
    encoded = model.encode(asked, model.item_vectors(), model.item_texts())
    expected = model.text_embeddings(tf.constant(text[[5]])).numpy()
    for interest in encoded.embeddings[0]:
        np.testing.assert_allclose(interest, expected[0], atol=5e-2)


NUM_TASTES, TASTE_SIZE, LENGTH, DIM = 12, 2, 10, 4


def two_taste_histories(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Every shopper has a taste in each of two families, and tosses a coin between."""
    random = np.random.default_rng(seed)
    half = NUM_TASTES // 2
    tastes = random.integers(half, size=(200, 2)) + [0, half]
    chosen = np.stack([random.choice(pair, LENGTH) for pair in tastes])
    return chosen * TASTE_SIZE + random.integers(TASTE_SIZE, size=chosen.shape), tastes


def mass_on_tastes(num_interests: int) -> float:
    """Trains on shoppers of two tastes; what others' tastes get of the softmax."""
    tf.keras.utils.set_random_seed(0)
    rows, _ = two_taste_histories(0)
    sequences = make_sequences(list(rows), splits=[[0] * LENGTH] * len(rows))
    model = RetrievalModel(
        RetrievalConfig(
            embedding_dim=DIM,
            num_heads=1,
            feedforward_dim=8,
            dropout=0.0,
            max_history_length=LENGTH,
            num_interests=num_interests,
        ),
        SCHEMA,
        plain_item_table(NUM_TASTES * TASTE_SIZE),
        has_repeat_bias=False,
        context_sizes={},
    )
    batches = builder(sequences, max_length=LENGTH, batch_tokens=550)
    steps = [to_tensors(batch) for batch in batches.epoch(0)]
    model(steps[0])
    centres = np.random.default_rng(1).normal(size=(NUM_TASTES, DIM))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    ids = np.repeat(centres, TASTE_SIZE, axis=0).astype(np.float32)
    model.candidate_tower.start_ids(np.concatenate([np.zeros((2, DIM)), ids]))
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))
    step = tf.function(model.train_step, reduce_retracing=True)
    for _ in range(40):
        for batch in steps:
            step(batch)
    others, tastes = two_taste_histories(2)
    scores = scores_of(model, items=(others + 2).tolist())
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    by_taste = probabilities.reshape(len(tastes), NUM_TASTES, TASTE_SIZE).sum(axis=2)
    return float(np.take_along_axis(by_taste, tastes, axis=1).sum(axis=1).mean())


def test_two_interests_serve_shoppers_of_two_tastes_better_than_one():
    one, two = (mass_on_tastes(number) for number in (1, 2))
    # Both know the shopper better than chance, 2 of 12 tastes.
    assert one > 0.3
    assert two > one + 0.04
