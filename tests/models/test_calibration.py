import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_ranking_tasks import SCHEMA as FUNNEL_SCHEMA
from tests.models.test_ranking_tasks import TYPES
from tests.models.test_recommender import make_ranking_model
from tests.models.toys import SCHEMA, plain_item_table, request, toy_model
from tfrec.config import RankingConfig
from tfrec.models.calibration import NUM_KNOTS, Calibration, build_calibration
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender


def random_curves(num_slices: int, num_heads: int) -> tuple[np.ndarray, np.ndarray]:
    """Rising curves; the last knots of each are repeated."""
    random = np.random.default_rng(0)
    steps = random.uniform(0.05, 1.0, (num_slices, num_heads, NUM_KNOTS, 2))
    knots = np.cumsum(steps, axis=2) - 8.0
    knots[:, :, 20:] = knots[:, :, 20:21]
    return knots, random.uniform(0.3, 2.0, (num_slices, num_heads, 2))


def expected(x: np.ndarray, knots: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """The curve of one slice and head, piece by piece."""
    knots = np.unique(knots, axis=0)
    inner = np.interp(x, *knots.T)
    low, high = knots[0], knots[-1]
    below = low[1] + tails[0] * (x - low[0])
    above = high[1] + tails[1] * (x - high[0])
    return np.where(x < low[0], below, np.where(x > high[0], above, inner))


def new_and_known(num_known: int, num_new: int):
    return request([[2, 3]] * num_known + [[0, 0]] * num_new)


def test_before_it_is_fitted_logits_stay_bit_by_bit():
    layer = Calibration(2, num_slices=2, slice_name="shopper")
    logits = tf.random.stateless_normal((3, 4, 2), (0, 1), stddev=5.0)
    np.testing.assert_array_equal(layer(logits, new_and_known(2, 1)), logits)


def test_graph_draws_the_curve_of_each_slice_and_head():
    layer = Calibration(2, num_slices=2, slice_name="shopper")
    knots, tails = random_curves(2, 2)
    layer.set_curves(knots, tails)
    x = np.linspace(-15, 15, 400).astype(np.float32)
    logits = np.tile(x[:, None], (2, 1, 2))
    run = tf.function(layer)
    found = run(tf.constant(logits), new_and_known(1, 1)).numpy()
    for row in range(2):  # The first shopper has a history, the second has none.
        for head in range(2):
            curve = expected(x, knots[row, head], tails[row, head])
            np.testing.assert_allclose(found[row, :, head], curve, atol=2e-5)


def test_context_chooses_the_curve():
    layer = Calibration(1, num_slices=4, slice_name="device")
    knots = np.zeros((4, 1, NUM_KNOTS, 2))
    knots[..., 1] = np.arange(4)[:, None, None]
    layer.set_curves(knots, np.ones((4, 1, 2)))
    asked = request([[2]] * 3)._replace(context={"device": tf.constant([3, 0, 2])})
    shift = layer(tf.zeros((3, 1, 1)), asked).numpy().ravel()
    assert shift.tolist() == [3.0, 0.0, 2.0]


def test_order_by_a_head_stays_strict():
    layer = Calibration(1)
    layer.set_curves(*random_curves(1, 1))
    logits = np.linspace(-12, 12, 5_000, dtype=np.float32)[None, :, None]
    probability = tf.sigmoid(layer(tf.constant(logits), request([[2]]))).numpy()
    assert (np.diff(probability[0, :4_000, 0]) > 0).all()
    assert (np.diff(probability[0, :, 0]) >= 0).all()  # Near 1 digits run out.


@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_batch_size_is_free(batch_size):
    layer = Calibration(2, num_slices=2, slice_name="shopper")
    layer.set_curves(*random_curves(2, 2))
    asked = new_and_known(3, 0)
    asked = tf.nest.map_structure(lambda t: t[:batch_size], asked)
    assert layer(tf.zeros((batch_size, 5, 2)), asked).shape == (batch_size, 5, 2)


def test_curves_are_saved_and_restored(tmp_path):
    layer = Calibration(2, num_slices=3, slice_name="device")
    layer.set_curves(*random_curves(3, 2))
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "weights"))
    again = Calibration.from_config(layer.get_config())
    status = tf.train.Checkpoint(layer=again).read(path)
    status.assert_existing_objects_matched()
    asked = request([[2]])._replace(context={"device": tf.constant([2])})
    logits = tf.random.stateless_normal((1, 9, 2), (0, 1), stddev=5.0)
    np.testing.assert_array_equal(again(logits, asked), layer(logits, asked))


@pytest.mark.parametrize("broken", ["falls", "flat tail", "shape"])
def test_what_does_not_rise_is_refused(broken):
    knots, tails = random_curves(1, 1)
    if broken == "falls":
        knots[0, 0, 3, 1] = -9.0
    elif broken == "flat tail":
        tails[0, 0, 1] = 0.0
    else:
        knots = knots[:, :, 1:]
    with pytest.raises(ValueError, match="must rise in x and y"):
        Calibration(1).set_curves(knots, tails)


def test_configuration_chooses_whether_and_by_what():
    off = RankingConfig(calibration="none")
    assert build_calibration(off, num_heads=1, context_sizes={}) is None
    common = build_calibration(RankingConfig(), num_heads=3, context_sizes={})
    assert common is not None
    assert (common.num_heads, common.num_slices) == (3, 1)
    config = RankingConfig(calibration_slice="device")
    layer = build_calibration(config, num_heads=1, context_sizes={"device": 5})
    assert layer is not None
    assert layer.num_slices == 5


def test_recommender_serves_calibrated_probabilities():
    model = make_ranking_model()
    recommender = TrainedRecommender(toy_model(), model, num_candidates=3)
    asked, index = request([[2, 3]]), tf.constant([[4, 5, 1]])
    retrieved = tf.constant([[-1.0, -2.0, 0.0]])
    (before,) = recommender.rank(asked, index, retrieved).probabilities.values()
    assert model.calibration is not None
    knots = np.zeros((1, len(SCHEMA.heads), NUM_KNOTS, 2))
    knots[..., 1] = -1.5
    model.calibration.set_curves(knots, np.full((1, len(SCHEMA.heads), 2), 0.5))
    ranked = recommender.rank(asked, index, retrieved)
    (after,) = ranked.probabilities.values()
    raw = before.numpy()[:, :2]
    logit = 0.5 * np.log(raw / (1 - raw)) - 1.5
    np.testing.assert_allclose(after[:, :2], 1 / (1 + np.exp(-logit)), rtol=1e-5)
    assert after[0, 2] == 0.0  # An unknown candidate stays at 0.
    # The only head is the order.
    np.testing.assert_allclose(ranked.scores[:, :2], after[:, :2])


def test_training_does_not_see_the_calibration():
    model = make_ranking_model()
    assert model.calibration is not None
    trained = {v.ref() for v in model.trainable_variables}
    assert not trained & {v.ref() for v in model.calibration.weights}
    inputs = RankingInputs(
        request([[2, 3]]), tf.ones((1, 8)), tf.constant([[4]]), tf.zeros((1, 1))
    )
    before = model(inputs).numpy()
    model.calibration.set_curves(*random_curves(1, len(SCHEMA.heads)))
    np.testing.assert_array_equal(model(inputs), before)


def test_calibrated_probabilities_do_not_grow_along_a_funnel():
    model = RankingModel(
        RankingConfig(hidden_dims=(4,), funnel=TYPES[1:]),
        FUNNEL_SCHEMA,
        plain_item_table(),
        embedding_dim=4,
        context_sizes={},
    )
    assert model.calibration is not None
    knots = np.zeros((1, 3, NUM_KNOTS, 2))
    knots[0, 2, :, 1] = 4.0  # Purchases would become likelier than carts.
    model.calibration.set_curves(knots, np.ones((1, 3, 2)))
    logits = tf.constant([[[-5.0, -2.0, -3.0], [-5.0, -2.0, -7.0]]])
    found = model.calibrated(logits, request([[2]])).numpy()
    assert found.tolist() == [[[-5.0, -2.0, -2.0], [-5.0, -2.0, -3.0]]]
