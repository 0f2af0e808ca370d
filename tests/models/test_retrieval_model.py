import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import (
    NUM_ITEMS,
    SCHEMA,
    builder,
    count_toy_transitions,
    one_batch,
    request,
    to_tensors,
    toy_model,
    toy_sequences,
)
from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel


@pytest.fixture(scope="module")
def model() -> RetrievalModel:
    return toy_model()


def scores_of(model: RetrievalModel, **inputs) -> np.ndarray:
    encoded = model.encode(request(**inputs), model.item_vectors())
    return model.logits(encoded, model.candidate_embeddings()).numpy()


def test_packed_and_bucketed_batches_have_the_same_loss(model):
    bucketed = one_batch(toy_sequences(), max_length=6)
    packed = one_batch(toy_sequences(), max_length=6, batching="packed")
    assert int(tf.reduce_max(packed.tokens.segment_ids)) > 1, "nothing was packed"
    np.testing.assert_allclose(model(packed), model(bucketed), rtol=1e-5)


def test_loss_is_the_mean_over_queries_asked_one_by_one(model):
    """Training on rows = serving every prefix on its own: one path, twice."""
    sequences = toy_sequences()
    losses = []
    for user in range(sequences.num_users):
        start, stop = sequences.offsets[user : user + 2]
        for event in range(start, stop):
            past = slice(start, event)
            inputs = {
                "items": [sequences.item_index[past].tolist() or [0]],
                "timestamps": [sequences.timestamps[past].tolist() or [0]],
                "dwell": [sequences.dwell_seconds[past].tolist() or [0.0]],
                "now": [int(sequences.timestamps[event])],
            }
            row = scores_of(model, **inputs)[0]
            positive = row[sequences.item_index[event] - 2]
            losses.append(np.log(np.exp(row).sum()) - positive)
    batch = one_batch(sequences, max_length=6)
    np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)


def test_padding_and_other_rows_change_nothing(model):
    times = {"timestamps": [[5, 9, 30]], "now": [100]}
    alone = scores_of(model, items=[[2, 3, 2]], **times)
    together = scores_of(
        model,
        items=[[2, 3, 2, 0, 0], [4, 4, 5, 6, 7]],
        timestamps=[[5, 9, 30, 0, 0], [1, 2, 3, 4, 5]],
        now=[100, 9],
    )
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_a_query_does_not_see_what_comes_after_it(model):
    batch = one_batch(toy_sequences(), max_length=6)
    tokens = batch.tokens

    def queries(index: tf.Tensor) -> np.ndarray:
        changed = tokens._replace(item_index=index)
        items = tf.gather(model.item_vectors(), index)
        places = tf.range(tf.size(index))
        encoded = model._encode_tokens(
            changed, items, None, places, {}, search=None, history=None, training=False
        )
        return encoded.embeddings.numpy().reshape(*index.shape, -1)

    before = queries(tokens.item_index)
    index = tokens.item_index.numpy()
    row = int(np.flatnonzero((index > 1).sum(axis=1) == 5)[0])
    index[row, 4] = 9  # The fourth event of the longest history.
    after = queries(tf.constant(index))
    np.testing.assert_allclose(after[row, :4], before[row, :4], atol=1e-6)
    assert np.abs(after[row, 4:] - before[row, 4:]).max() > 1e-3


def test_score_is_dot_product_over_temperature_plus_bias_without_repeats():
    model = toy_model(repeat=False)
    encoded = model.encode(request([[3, 4]]), model.item_vectors())
    expected = encoded.embeddings.numpy() @ model.candidate_embeddings().numpy().T
    expected = expected / np.exp(model.log_temperature.numpy()) + model.item_bias()
    np.testing.assert_allclose(scores_of(model, items=[[3, 4]]), expected, rtol=1e-5)
    norms = np.linalg.norm(model.candidate_embeddings(), axis=1)
    np.testing.assert_allclose(norms, np.ones(NUM_ITEMS), rtol=1e-5)


def test_gradients_reach_every_weight():
    model = count_toy_transitions(toy_model(transitions=True))
    with tf.GradientTape() as tape:
        loss = model(one_batch(toy_sequences(), max_length=6), training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@pytest.mark.parametrize("encoder", ["transformer", "hstu"])
def test_without_times_of_events_the_order_alone_counts(encoder):
    early = {"timestamps": [[10, 20, 30]], "now": [40]}
    late = {"timestamps": [[10, 9_000, 900_000]], "now": [9_000_000]}
    items = [[2, 3, 2]]  # Repeats are scored by their age, too.
    blind = toy_model(encoder=encoder, use_event_times=False)
    np.testing.assert_array_equal(
        scores_of(blind, items=items, **early), scores_of(blind, items=items, **late)
    )
    seeing = toy_model(encoder=encoder)
    difference = scores_of(seeing, items=items, **early) - scores_of(
        seeing, items=items, **late
    )
    assert np.abs(difference).max() > 1e-3


def test_request_time_can_be_left_out_of_the_query():
    model = toy_model(use_request_time=False, repeat=False)
    inputs = {"items": [[2, 3]], "timestamps": [[10, 20]]}
    early, late = (scores_of(model, **inputs, now=[t]) for t in (30, 900_000))
    np.testing.assert_array_equal(early, late)
    knowing = toy_model(repeat=False)
    early, late = (scores_of(knowing, **inputs, now=[t]) for t in (30, 900_000))
    assert np.abs(early - late).max() > 1e-3


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_one_step_lowers_the_loss(loss):
    model = toy_model(loss=loss, repeat=False, num_sampled_negatives=64)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    batches = builder(toy_sequences(), max_length=6)
    (batch,) = batches.epoch(0)
    first = float(model(to_tensors(batch)))
    for _ in range(20):
        model.train_step(to_tensors(batch))
    assert float(model(to_tensors(batch))) < first - 0.1


def loss_and_gradients(model: RetrievalModel, batch: RetrievalBatch) -> tuple:
    with tf.GradientTape() as tape:
        loss = model(batch)
    gradients = tape.gradient(loss, model.trainable_variables)
    return loss.numpy(), [tf.convert_to_tensor(g).numpy() for g in gradients]


def test_sampled_softmax_that_draws_every_item_is_the_exact_softmax():
    """However often an item is drawn, it counts once."""
    exact = toy_model(repeat=False)
    # 512 draws leave none of 8 items out, but once in 10^29.
    sampled = toy_model(repeat=False, loss="sampled_softmax", num_sampled_negatives=512)
    batch = one_batch(toy_sequences(), max_length=6)
    loss, gradients = loss_and_gradients(sampled, batch)
    expected, expected_gradients = loss_and_gradients(exact, batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for weight, found, wanted in zip(
        exact.trainable_variables, gradients, expected_gradients, strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=weight.name)


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_targets_of_weight_zero_take_no_part(loss):
    model = toy_model(repeat=False, loss=loss, num_sampled_negatives=512)
    batch = one_batch(toy_sequences(), max_length=6)
    first = np.arange(len(batch.target_weights)) < 4
    weighted = batch._replace(target_weights=tf.constant(first, tf.float32))
    alone = batch._replace(
        target_tokens=batch.target_tokens[:4],
        target_items=batch.target_items[:4],
        target_weights=batch.target_weights[:4],
    )
    np.testing.assert_allclose(model(weighted), model(alone), rtol=1e-5)
    nothing = batch._replace(target_weights=tf.zeros_like(batch.target_weights))
    assert float(model(nothing)) == 0.0


def test_unknown_items_are_read_but_never_scored(model):
    with_unknown = scores_of(model, items=[[2, 1, 1]])
    assert with_unknown.shape == (1, NUM_ITEMS)
    assert np.isfinite(with_unknown).all()
    assert np.abs(with_unknown - scores_of(model, items=[[2]])).max() > 1e-3


def test_an_empty_history_is_scored(model):
    scores = scores_of(model, items=[[0, 0]], now=[50])
    # Processors differ in the order in which they add up rows of two lengths.
    narrow = scores_of(model, items=[[0]], now=[50])
    np.testing.assert_allclose(scores, narrow, rtol=1e-5)
    assert np.isfinite(scores).all()


def test_item_bias_can_start_at_the_log_of_smoothed_frequencies():
    counts = np.array([0, 0, 7, 2, 0])
    model = RetrievalModel(
        RetrievalConfig(embedding_dim=4, bias_start=0.5),
        SCHEMA,
        ItemTable(counts, {}, {}, {}, {}),
        has_repeat_bias=False,
        context_sizes={},
    )
    logs = np.log([7.5, 2.5, 0.5])  # Half a count more, so that none is 0.
    np.testing.assert_allclose(model.item_bias(), 0.5 * (logs - logs.mean()), rtol=1e-5)


@pytest.fixture
def mixed_precision():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy(before)


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_mixed_precision_trains_to_scores_in_float32(model, loss, mixed_precision):
    settings = {"loss": loss, "num_sampled_negatives": 512}
    mixed = toy_model(repeat=loss == "softmax", **settings)
    assert mixed.query_tower.encoder.compute_dtype == "bfloat16"
    if loss == "softmax":  # The same weights in float32; bfloat16 keeps 3 digits.
        scores = scores_of(mixed, items=[[2, 3, 2]], now=[99])
        expected = scores_of(model, items=[[2, 3, 2]], now=[99])
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=0.05 * np.ptp(expected))
    mixed.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    batch = one_batch(toy_sequences(), max_length=6)
    first = float(mixed(batch))
    for _ in range(10):
        mixed.train_step(batch)
    assert float(mixed(batch)) < first - 0.05


def test_mixed_precision_mixes_transitions_in_with_the_digits_of_float32(
    mixed_precision,
):
    batch, losses = one_batch(toy_sequences(), max_length=6), []
    for policy in ("float32", "mixed_bfloat16"):
        tf.keras.mixed_precision.set_global_policy(policy)
        model = count_toy_transitions(toy_model(transitions=True))
        assert model.transition_mixture is not None
        model.transition_mixture.step_weights.assign(tf.zeros(3))  # No small share.
        model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
        losses.append(float(model.train_step(batch)["loss"]))
    assert model.query_tower.encoder.compute_dtype == "bfloat16"
    # The same weights before the step; bfloat16 keeps 3 digits.
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    encoded = model.encode(request([[2, 3, 2]]), model.item_vectors())
    scores = model.scores(encoded, model.candidate_keys())
    assert scores.dtype == tf.float32
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
