"""What every choice of heads, losses and bias must hold within the whole model."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_ranking_model import DIM, inputs, shuffled
from tests.models.toys import rich_item_table
from tfrec.config import RankingConfig
from tfrec.models.ranking_model import RankingBatch, RankingInputs, RankingModel
from tfrec.schema import Schema

TYPES = ("view", "cart", "purchase")
SCHEMA = Schema(TYPES, ("view",), TYPES)
REGISTRY: dict[str, dict[str, Any]] = {
    "plain": {},
    "towers": {"task_dims": [3]},
    "mmoe": {"task_layers": "mmoe", "num_experts": 2},
    "ple": {"task_layers": "ple", "num_experts": 1, "num_expert_levels": 2},
    "funnel": {"funnel": TYPES},
    "pairwise": {"pairwise_weight": 1.0, "listwise_weight": 0.0},
    "listmle": {"listmle_weight": 1.0, "listwise_weight": 0.0},
    "graded": {"event_gains": {"cart": 2.0, "purchase": 4.0}, "pairwise_weight": 1.0},
    "loss_weights": {"loss_weights": {"cart": 0.5, "purchase": 3.0}},
    "uncertainty": {"uncertainty_weights": True},
    "dwell": {"dwell_weight": 0.5},
    "examination": {"position_bias": "examination", "num_positions": 4},
    "propensity": {"position_bias": "propensity", "min_propensity": 0.2},
    "all": {
        "task_layers": "mmoe",
        "task_dims": [3],
        "funnel": TYPES[1:],
        "pairwise_weight": 0.5,
        "listmle_weight": 0.5,
        "novel_weight": 0.5,
        "event_gains": {"purchase": 2.0},
        "uncertainty_weights": True,
        "dwell_weight": 1.0,
        "position_bias": "examination",
        "num_positions": 4,
    },
}
each_choice = pytest.mark.parametrize("settings", REGISTRY.values(), ids=REGISTRY)


def make_model(**settings: Any) -> RankingModel:
    tf.keras.utils.set_random_seed(0)
    small = {"hidden_dims": [4], "attribute_dim": 2, "attention_dim": 2, "dropout": 0.0}
    model = RankingModel(
        RankingConfig.model_validate({**small, **settings}),
        SCHEMA,
        rich_item_table(),
        embedding_dim=DIM,
        context_sizes={},
    )
    model(inputs([[2, 3]], [[2, 3, 4]]))
    return model


LISTS = inputs([[2, 3], [6, 4]], [[4, 5, 2, 7], [2, 7, 3, 5]])
LABELS = np.zeros((2, 4, 3), np.int8)
LABELS[0, 1], LABELS[0, 2] = [1, 1, 0], [1, 0, 0]
LABELS[1, 3], LABELS[1, 0] = [1, 1, 1], [-1, 0, -1]


def batch(labels: np.ndarray = LABELS, lists: RankingInputs = LISTS) -> RankingBatch:
    """Shown from the second place on, with propensities and dwell of what was met."""
    places = np.tile(np.arange(2, 2 + labels.shape[1]), (len(labels), 1))
    dwell = np.where(labels[..., 0] > 0, 10.0 + places, 0.0)
    return RankingBatch(
        lists,
        tf.constant(labels),
        tf.constant(places, tf.int32),
        tf.constant(1.0 / places, tf.float32),
        tf.constant(dwell, tf.float32),
    )


def seconds(model: RankingModel) -> np.ndarray:
    found = model.dwell_seconds(model.forward(LISTS))
    assert found is not None
    return found.numpy()


def gradients(model: RankingModel, data: RankingBatch) -> dict[str, np.ndarray]:
    with tf.GradientTape() as tape:
        loss = model.compute_loss(data, training=True)
    found = tape.gradient(loss, model.trainable_variables)
    named = {}
    for i, (weight, value) in enumerate(
        zip(model.trainable_variables, found, strict=True)
    ):
        assert value is not None, f"No gradient reaches {weight.name}."
        named[f"{weight.name} {i}"] = tf.convert_to_tensor(value).numpy()
    return named


@each_choice
def test_outputs_have_one_finite_logit_per_head(settings):
    model = shuffled(make_model(**settings))
    outputs = model.forward(LISTS)
    assert outputs.logits.shape == (2, 4, 3)
    assert np.isfinite(outputs.logits).all()
    if settings.get("dwell_weight"):
        assert np.isfinite(seconds(model)).all()
    else:
        assert model.dwell_seconds(outputs) is None


@each_choice
def test_a_gradient_reaches_every_weight(settings):
    model = shuffled(make_model(**settings))
    for name, value in gradients(model, batch()).items():
        assert np.isfinite(value).all(), name
        assert np.abs(value).max() > 0, f"The gradient of {name} is zero."


@each_choice
@pytest.mark.parametrize("head", range(3))
def test_every_head_is_learned_from_its_own_label(settings, head):
    model = shuffled(make_model(**settings))
    labels = np.full_like(LABELS, -1)
    labels[..., head] = LABELS[..., head]
    found = gradients(model, batch(labels))
    (kernel,) = (v for k, v in found.items() if "task_logits" in k and "kernel" in k)
    assert np.abs(kernel[:, head]).max() > 1e-6


@each_choice
def test_undefined_labels_and_padding_change_nothing(settings):
    model = shuffled(make_model(**settings))
    # The last two candidates: one of them padding with labels, one not defined.
    short = inputs([[2, 3], [6, 4]], [[4, 5], [2, 7]])
    long = inputs([[2, 3], [6, 4]], [[4, 5, 0, 6], [2, 7, 0, 6]])
    labels = LABELS.copy()
    labels[:, 0], labels[:, 2], labels[:, 3] = [1, 1, 0], 1, -1
    expected = model.compute_loss(batch(labels[:, :2], short))
    found = model.compute_loss(batch(labels, long))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    labels[:, 3] = 0  # Defined after all: now it counts.
    assert abs(float(model.compute_loss(batch(labels, long))) - float(expected)) > 1e-4


@pytest.mark.parametrize(
    "settings",
    # Elsewhere one head's labels say something to another.
    [s for s in REGISTRY.values() if not {"funnel", "event_gains"} & set(s)],
    ids=[n for n, s in REGISTRY.items() if not {"funnel", "event_gains"} & set(s)],
)
def test_a_list_teaches_only_the_heads_that_it_is_said_to(settings):
    model = shuffled(make_model(**settings))
    taught = tf.constant([[True, False, True], [False, True, True]])
    labels = np.where(taught.numpy()[:, np.newaxis], LABELS, np.int8(-1))
    undefined = batch()._replace(labels=tf.constant(labels))
    expected = model.compute_loss(undefined)
    found = model.compute_loss(batch()._replace(taught=taught))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert abs(float(model.compute_loss(batch())) - float(expected)) > 1e-4


def test_graded_relevance_knows_what_teaches_no_head():
    """A view that led to a cart is worth more, though carts are not learned."""
    model = shuffled(make_model(event_gains={"cart": 4.0}))
    views = tf.constant([[True, False, False]] * 2)
    labels = LABELS.copy()
    labels[..., 1:] = -1
    plain = model.compute_loss(batch(labels))
    graded = model.compute_loss(batch()._replace(taught=views))
    assert abs(float(graded) - float(plain)) > 1e-4
    found = gradients(model, batch()._replace(taught=views))
    (kernel,) = (v for k, v in found.items() if "task_logits" in k and "kernel" in k)
    assert (kernel[:, 1:] == 0.0).all()
    assert np.abs(kernel[:, 0]).max() > 1e-6


def test_dwell_is_learned_where_no_label_is():
    model = shuffled(make_model(dwell_weight=0.5))
    dwell = batch().dwell_seconds
    nothing = batch(np.full_like(LABELS, -1))._replace(dwell_seconds=dwell)
    assert float(model.compute_loss(nothing)) > 1e-3
    padded = inputs([[2, 3], [6, 4]], [[0] * 4] * 2)
    assert float(model.compute_loss(nothing._replace(inputs=padded))) == 0.0


@each_choice
def test_batches_without_places_and_dwell_are_learned_from_too(settings):
    model = shuffled(make_model(**settings))
    plain = RankingBatch(LISTS, tf.constant(LABELS))
    assert np.isfinite(model.compute_loss(plain))
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    before = float(model.compute_loss(plain))
    for _ in range(2):
        model.train_step(plain)
    assert float(model.compute_loss(plain)) < before


@each_choice
def test_no_request_and_nothing_defined_have_no_loss_of_labels(settings):
    model = shuffled(make_model(**settings))
    nothing = model.compute_loss(batch(np.full_like(LABELS, -1)))
    assert float(nothing) == 0.0
    none = tf.nest.map_structure(lambda values: values[:0], batch())
    assert float(model.compute_loss(none)) == 0.0
    assert model(none.inputs).shape == (0, 4, 3)


def test_training_starts_from_the_order_of_retrieval_along_a_funnel():
    model = make_model(funnel=TYPES)
    probabilities = tf.sigmoid(model(LISTS)).numpy()
    assert (np.diff(probabilities, axis=1) < 0).all()
    # P(cart | view) = P(purchase | cart) = 1 / 2 before anything is learned.
    first = 1 / (1 + np.exp(-LISTS.retrieval_scores.numpy()))
    expected = first[..., None] * [1, 1 / 2, 1 / 4]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_probabilities_are_ordered_along_a_funnel_and_not_without():
    with_funnel = tf.sigmoid(shuffled(make_model(funnel=TYPES))(LISTS)).numpy()
    assert (np.diff(with_funnel, axis=-1) < 0).all()
    without = tf.sigmoid(shuffled(make_model())(LISTS)).numpy()
    assert (np.diff(without, axis=-1) > 0).any()


@pytest.mark.parametrize(("funnel", "reaches"), [(TYPES, True), ((), False)])
def test_a_purchase_teaches_the_view_along_a_funnel(funnel, reaches):
    model = shuffled(make_model(funnel=funnel))
    labels = np.full_like(LABELS, -1)
    labels[..., 2] = 0  # Nothing was bought, and of the view nothing is said.
    found = gradients(model, batch(labels))
    (kernel,) = (v for k, v in found.items() if "task_logits" in k and "kernel" in k)
    assert (np.abs(kernel[:, 0]).max() > 1e-6) == reaches


def test_places_matter_in_training_only():
    model = shuffled(make_model(position_bias="examination", num_positions=4))
    near, far = batch(), batch()
    far = far._replace(positions=far.positions + 2)
    assert float(model.compute_loss(near)) != pytest.approx(
        float(model.compute_loss(far))
    )
    np.testing.assert_array_equal(model(near.inputs), model(far.inputs))


def test_loss_weights_are_those_of_the_heads():
    labels = [np.full_like(LABELS, -1) for _ in range(2)]
    for head, part in enumerate(labels):
        part[..., head] = LABELS[..., head]

    def loss(data: np.ndarray, **weights: float) -> float:
        model = shuffled(make_model(loss_weights=weights, listwise_weight=0.0))
        return float(model.compute_loss(batch(data)))

    view, cart = (loss(part) for part in labels)
    assert loss(labels[0], view=3.0) == pytest.approx(3.0 * view, rel=1e-5)
    assert loss(labels[1], view=3.0) == pytest.approx(cart, rel=1e-5)
    both = np.where(labels[0] >= 0, labels[0], labels[1])
    # Seven of the labels of the view are defined, all eight of the cart.
    expected = (3.0 * 7 * view + 8 * cart) / 15
    assert loss(both, view=3.0) == pytest.approx(expected, rel=1e-5)


def test_dwell_is_learned_as_the_logarithm_and_given_in_seconds():
    weights = {"dwell_weight": 0.5, "pointwise_weight": 1e-9, "listwise_weight": 0.0}
    model = make_model(fusion="concat", **weights)
    model.set_mean_dwell(float(np.log1p(20.0)))
    np.testing.assert_allclose(seconds(model), np.full((2, 4), 20.0), rtol=1e-5)
    data = batch()
    known = data.dwell_seconds.numpy()[data.dwell_seconds.numpy() > 0]
    assert len(known) == 3
    expected = 0.5 * np.mean((np.log1p(known) - np.log1p(20.0)) ** 2) / 2
    np.testing.assert_allclose(model.compute_loss(data), expected, rtol=1e-4)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05))
    step = tf.function(model.train_step)
    for _ in range(60):
        step(data)
    found = seconds(model)[data.dwell_seconds.numpy() > 0]
    np.testing.assert_allclose(found, known, rtol=0.1)


def test_uncertainty_weights_are_learned_and_positive():
    model = make_model(fusion="concat", uncertainty_weights=True)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05))
    step = tf.function(model.train_step)
    for _ in range(20):
        step(batch())
    assert model.objective.uncertainty is not None
    weights = model.objective.uncertainty.task_weights().numpy()
    assert (weights > 0).all()
    assert (np.abs(weights - 1.0) > 0.05).all()
