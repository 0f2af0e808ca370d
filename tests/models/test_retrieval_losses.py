"""The losses of the retrieval model, against sums over its own scores."""

from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import (
    NUM_ITEMS,
    one_batch,
    toy_model,
    toy_sequences,
)
from tfrec.config import RetrievalConfig
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel

LOSSES = get_args(RetrievalConfig.model_fields["loss"].annotation)
SETTINGS: dict[str, dict[str, Any]] = {
    # As many draws of 8 items leave none out, but once in 10^29.
    "sampled_softmax": {"num_sampled_negatives": 512},
    "gbce": {"num_sampled_negatives": 512, "gbce_calibration": 0.6},
    "bce": {"num_bce_negatives": 4_000},
}


def build(loss: str, **settings: object) -> RetrievalModel:
    chosen = {"loss": loss, **SETTINGS.get(loss, {}), **settings}
    return toy_model(repeat=False, **chosen)


@pytest.fixture(scope="module")
def batch() -> RetrievalBatch:
    return one_batch(toy_sequences(), max_length=6)


def score_rows(model: RetrievalModel, batch: RetrievalBatch) -> np.ndarray:
    """Returns the scores of all items for every target of the batch."""
    items = tf.gather(model.item_vectors(), batch.tokens.item_index)
    encoded = model.encode_batch(batch, items, None, training=False)
    return model.logits(encoded, model.candidate_embeddings()).numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def test_every_loss_is_built_by_its_name(batch):
    losses = {loss: float(build(loss)(batch)) for loss in LOSSES}
    assert np.isfinite(list(losses.values())).all()
    # The sampled softmax draws all items here: it is the exact one.
    others = {loss: value for loss, value in losses.items() if loss != "softmax"}
    assert len({round(value, 4) for value in others.values()}) == len(others)


def test_gbce_over_all_items_is_plain_bce_over_all_items(batch):
    """alpha is 1 then, and with it beta, whatever the calibration."""
    model = build("gbce")
    # All logits are lowered by the prior of one positive among so many.
    scores = score_rows(model, batch) - np.log(NUM_ITEMS)
    losses = []
    for row, item in zip(scores, batch.target_items.numpy() - 2, strict=True):
        others = np.delete(row, item)
        terms = -np.log(sigmoid(row[item])) - np.log(sigmoid(-others)).sum()
        losses.append(terms / NUM_ITEMS)
    np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)


def test_bce_draws_every_other_item_alike(batch):
    """4,000 own draws a target estimate the mean over the other items."""
    model = build("bce")
    scores = score_rows(model, batch)
    losses = []
    for row, item in zip(scores, batch.target_items.numpy() - 2, strict=True):
        others = np.delete(row, item)
        # 7/8 of the draws are no accidental hit; the positive is one term of them.
        drawn = 4_000 * 7 / 8
        terms = -np.log(sigmoid(row[item])) - drawn * np.log(sigmoid(-others)).mean()
        losses.append(terms / (drawn + 1))
    np.testing.assert_allclose(model(batch), np.mean(losses), rtol=0.03)


def test_in_batch_softmax_compares_with_the_other_targets_and_corrects_them(batch):
    model = build("in_batch")
    scores = score_rows(model, batch)
    targets = batch.target_items.numpy() - 2
    counts = model.sampling_frequency
    # An item is a negative if any of the targets is it.
    log_q = np.log(1.0 - (1.0 - counts) ** len(targets))
    losses = []
    for row, item in zip(scores, targets, strict=True):
        corrected = {j: row[j] - log_q[j] for j in targets}  # Each item once.
        total = np.log(np.sum(np.exp(list(corrected.values()))))
        losses.append(total - corrected[item])
    np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)


@pytest.mark.parametrize("loss", ["in_batch", "sampled_softmax"])
def test_frequencies_for_logq_follow_the_targets_of_training(loss, batch):
    model = build(loss)
    frequency = model.target_frequency
    assert frequency is not None
    model(batch)
    np.testing.assert_array_equal(frequency.counts, np.zeros(NUM_ITEMS))
    for _ in range(2):
        model(batch, training=True)
    expected = 2 * np.bincount(batch.target_items.numpy() - 2, minlength=NUM_ITEMS)
    np.testing.assert_array_equal(frequency.counts, expected)


def test_label_smoothing_reaches_the_exact_softmax(batch):
    model = build("softmax", label_smoothing=0.3)
    scores = score_rows(model, batch)
    log_probability = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    targets = batch.target_items.numpy() - 2
    chosen = log_probability[np.arange(len(targets)), targets]
    expected = -(0.7 * chosen + 0.3 * log_probability.mean(axis=1)).mean()
    np.testing.assert_allclose(model(batch), expected, rtol=1e-4)


def test_label_smoothing_is_refused_where_it_would_do_nothing():
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1, loss=gbce"):
        RetrievalConfig(loss="gbce", label_smoothing=0.1)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_of_every_loss_reach_every_weight(loss, batch):
    model = build(loss)
    with tf.GradientTape() as tape:
        total = model(batch, training=True)
    gradients = tape.gradient(total, model.trainable_variables)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_of_weight_zero_take_no_part(loss, batch):
    first = np.arange(len(batch.target_weights)) < 4
    weighted = batch._replace(target_weights=tf.constant(first, tf.float32))
    model = build(loss)
    nothing = batch._replace(target_weights=tf.zeros_like(batch.target_weights))
    assert float(model(nothing)) == 0.0
    moved = tf.where(first, weighted.target_items, 9 - weighted.target_items % 2)
    changed = weighted._replace(target_items=moved)
    if loss != "in_batch":  # There they are negatives of the others, as ever.
        tolerance = 0.05 if loss == "bce" else 1e-5
        np.testing.assert_allclose(model(changed), model(weighted), rtol=tolerance)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_traced_step_lowers_every_loss(loss, batch):
    model = build(loss)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    step = tf.function(model.train_step)
    first = float(model(batch))
    for _ in range(20):
        step(batch)
    assert float(model(batch)) < first - 0.02


@pytest.mark.parametrize("loss", ["in_batch", "sampled_softmax"])
def test_temperature_comes_before_logq_of_counted_targets(loss, batch, monkeypatch):
    """With uneven counts: with even ones logQ is the same for all and cancels."""
    more = {"num_sampled_negatives": 12} if loss == "sampled_softmax" else {}
    model = build(loss, **more)
    frequency = model.target_frequency
    assert frequency is not None
    counts = 100.0 * np.arange(NUM_ITEMS) ** 2
    frequency.counts.assign(counts)
    share = 1_000.0 / NUM_ITEMS + counts
    share /= share.sum()
    targets = batch.target_items.numpy() - 2
    missed = (1.0 - share) ** len(targets)
    negatives = set(targets.tolist())
    if loss == "sampled_softmax":
        # Items 0 and 7 from the catalogue, beside all targets.
        monkeypatch.setattr(
            "tfrec.models.negatives.draw_uniform",
            lambda shape, *, num_items: tf.constant([2] * 11 + [9]),
        )
        negatives |= {0, 7}
        missed *= (1.0 - 1.0 / NUM_ITEMS) ** 12
    log_q = np.log(1.0 - missed)
    items = tf.gather(model.item_vectors(), batch.tokens.item_index)
    encoded = model.encode_batch(batch, items, None, training=False)
    cosines = encoded.embeddings.numpy() @ model.candidate_embeddings().numpy().T
    logits = cosines / np.exp(float(model.log_temperature)) + model.item_bias().numpy()
    losses = []
    for row, item in zip(logits - log_q, targets, strict=True):
        others = [row[j] for j in negatives if j != item]
        losses.append(np.log(np.exp([row[item], *others]).sum()) - row[item])
    np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)
    assert np.ptp(log_q) > 0.1
