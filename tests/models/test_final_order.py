import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_recommender import make_ranking_model
from tests.models.toys import request, toy_model
from tfrec.formula import parse_formula
from tfrec.models.final_order import (
    FinalOrder,
    OrderWishes,
    ScoredCandidates,
    listed_values,
)
from tfrec.models.recommender import TrainedRecommender

# Items 0 to 3 of the catalogue, whose indices are 2 to 5.
PRICE = np.array([10.0, np.nan, 4.0, 100.0])
BID = np.array([0.5, 2.0, np.nan, 0.25])
INDEX = np.array([[2, 3, 4], [5, 4, 2]])
CLICK = np.array([[0.3, 0.1, 0.6], [0.2, 0.5, 0.05]])
PURCHASE = np.array([[0.05, 0.02, 0.3], [0.01, 0.4, 0.02]])
RETRIEVAL = np.array([[-1.0, -2.0, -0.5], [-3.0, -0.1, -4.0]])
CANDIDATES = ScoredCandidates(
    tf.constant(INDEX, tf.int32),
    {
        "click_probability": tf.constant(CLICK, tf.float32),
        "purchase_probability": tf.constant(PURCHASE, tf.float32),
    },
    tf.constant(RETRIEVAL, tf.float32),
)
OWN = "weight_click * click + weight_purchase * purchase"


def make_order(default: str = "recommend", **formulas: str) -> FinalOrder:
    texts = {"recommend": OWN, "ads": "click * bid", **formulas}
    return FinalOrder(
        {name: parse_formula(text) for name, text in texts.items()},
        default=default,
        weights={"click": 1.0, "purchase": 3.0},
        numbers={"price": PRICE, "bid": BID},
        missing_values={"price": 7.0},
    )


def score(formula: str, wishes: OrderWishes | None = None) -> np.ndarray:
    return make_order("f", f=formula)(CANDIDATES, wishes).numpy()


def strings(*values: str) -> tf.Tensor:
    return tf.constant(values)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (OWN, CLICK + 3.0 * PURCHASE),
        ("click * retrieval ** 0.25", CLICK * np.exp(RETRIEVAL * 0.25)),
        (
            "0.2 * click + purchase * price ** 0.5",
            0.2 * CLICK + PURCHASE * np.sqrt([[10.0, 7.0, 4.0], [100.0, 4.0, 10.0]]),
        ),
        (
            "max(click, purchase) - min(click, 0.2)",
            np.maximum(CLICK, PURCHASE) - np.minimum(CLICK, 0.2),
        ),
        ("log(click) / price", np.log(CLICK) / [[10, 7, 4], [100, 4, 10]]),
        ("exp(-click) + abs(click - 1)", np.exp(-CLICK) + 1 - CLICK),
        (
            "log1p(price) + sqrt(price) + price ** -2 + boost",
            (p := np.array([[10.0, 7, 4], [100, 4, 10]])) * 0
            + np.log1p(p)
            + np.sqrt(p)
            + p**-2.0
            + 1.0,
        ),
    ],
)
def test_a_formula_gives_what_numpy_gives(formula: str, expected: np.ndarray):
    np.testing.assert_allclose(score(formula), expected, rtol=1e-5)


def test_ads_are_ordered_by_expected_revenue_of_an_impression():
    revenue = make_order("ads")(CANDIDATES).numpy()
    # Missing bids are 0: who does not pay earns nothing.
    bids = np.array([[0.5, 2.0, 0.0], [0.25, 0.0, 0.5]])
    np.testing.assert_allclose(revenue, CLICK * bids, rtol=1e-6)
    order = np.argsort(-revenue, axis=1)
    assert order.tolist() == [[1, 0, 2], [0, 2, 1]]
    assert order.tolist() != np.argsort(-CLICK, axis=1).tolist()


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("click / (bid - 0.5)", 0.0),  # Of item 0, whose bid is .5.
        ("(click - 1) ** 0.5", 0.0),
        ("sqrt(click - 1)", 0.0),
        ("(click - click) ** -1", 0.0),
        ("log(click - click)", np.log(np.finfo(np.float32).tiny)),
        ("log1p(click - 5)", np.log(np.finfo(np.float32).tiny)),
        ("exp(price * 99)", np.finfo(np.float32).max),
        ("-exp(price * 99)", np.finfo(np.float32).min),
        ("exp(price * 99) - exp(price * 99)", np.finfo(np.float32).min),
    ],
)
def test_every_score_is_finite(formula: str, expected: float):
    np.testing.assert_allclose(score(formula)[0, 0], expected, rtol=1e-5)


def test_every_row_chooses_its_formula():
    order = make_order(cheap="-price")
    wishes = OrderWishes(order=strings("cheap", ""))
    found = order(CANDIDATES, wishes)
    np.testing.assert_allclose(found[0], [-10, -7, -4])
    np.testing.assert_allclose(found[1], (CLICK + 3 * PURCHASE)[1], rtol=1e-6)


def test_a_formula_that_is_not_there_is_named():
    wishes = OrderWishes(order=strings("ads", "adds"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="`order` must be one of"):
        make_order()(CANDIDATES, wishes)


def test_weights_of_a_request_replace_the_configured_ones():
    weights = {
        "click": tf.constant([np.nan, 0.0]),
        "purchase": tf.constant([10.0, np.nan]),
    }
    found = make_order()(CANDIDATES, OrderWishes(weights=weights))
    np.testing.assert_allclose(found[0], (CLICK + 10 * PURCHASE)[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], (3 * PURCHASE)[1], rtol=1e-6)


def test_a_boost_raises_whatever_the_sign():
    boosts = tf.constant([[2.0, 1.0, 0.0], [0.5, 1.0, 1.0]])
    plain = score("click - 0.2")
    found = score("click - 0.2", OrderWishes(boosts=boosts))
    lowest = np.finfo(np.float32).min
    # 0 puts an item behind those that have less than nothing.
    np.testing.assert_allclose(found[0], [plain[0, 0] * 2, plain[0, 1], lowest])
    assert plain[0, 2] > 0 > plain[0, 1]
    np.testing.assert_allclose(found[1], plain[1] * [0.5, 1, 1])
    assert plain[0, 1] < 0
    doubled = score("click - 0.2", OrderWishes(boosts=2.0 * tf.ones((2, 3))))
    assert doubled[0, 1] == plain[0, 1] / 2
    never = score("click - 0.2", OrderWishes(boosts=tf.zeros((2, 3))))
    assert never[0, 1] == lowest


def test_a_formula_that_names_boost_decides_what_it_does():
    boosts = tf.constant([[2.0, 1.0, 0.0], [0.5, 1.0, 1.0]])
    found = score("click + boost", OrderWishes(boosts=boosts))
    np.testing.assert_allclose(found, CLICK + boosts.numpy(), rtol=1e-6)


def test_bids_of_a_request_replace_those_of_the_catalogue():
    bids = tf.constant([[np.nan, 0.0, 9.0], [np.nan, np.nan, np.nan]])
    found = score("click * bid", OrderWishes(bids=bids))
    expected = CLICK * [[0.5, 0.0, 9.0], [0.25, 0.0, 0.5]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_listed_values_are_found_by_item():
    listed = tf.constant([[4, 1, 2, 4], [0, 0, 5, 2]])
    values = tf.constant([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, np.nan, 8.0]])
    index = tf.constant([[2, 0, 4, 1], [5, 2, 3, 0]])
    found = listed_values(index, listed, values, default=-1.0)
    # The last of two; padding, the unknown item and NaN say nothing.
    np.testing.assert_array_equal(found, [[3, -1, 4, -1], [-1, 8, -1, -1]])


def test_a_request_that_lists_nothing_gets_the_default():
    found = listed_values(
        tf.constant([[2, 3]]), tf.zeros((1, 0), tf.int32), tf.zeros((1, 0)), default=1.0
    )
    np.testing.assert_array_equal(found, [[1, 1]])


def test_a_batch_without_rows_gives_none():
    empty = ScoredCandidates(*(tf.nest.map_structure(lambda t: t[:0], CANDIDATES)))
    wishes = OrderWishes(order=tf.zeros((0,), tf.string))
    assert make_order()(empty, wishes).shape == (0, 3)


def test_only_another_default_changes_plain_requests():
    assert not make_order().changes_default
    assert make_order("ads").changes_default
    assert make_order(recommend="click").changes_default


def test_the_default_must_be_a_formula():
    with pytest.raises(ValueError, match="`default` must be one of.*'nothing'"):
        make_order("nothing")


def test_the_recommender_orders_by_the_formula():
    retrieval, ranking = toy_model(), make_ranking_model()
    head = ranking.heads[0].removesuffix("_probability")
    weights = dict(zip([head], ranking.head_weights, strict=True))
    prices = np.linspace(1.0, 3.0, retrieval.num_items)

    def rank(text: str | None):
        order = text and FinalOrder(
            {"f": parse_formula(text)},
            default="f",
            weights=weights,
            numbers={"price": prices},
            missing_values={},
        )
        recommender = TrainedRecommender(
            retrieval, ranking, num_candidates=3, final_order=order or None
        )
        scores = tf.constant([[-1.0, -2.0, 0.0]])
        return recommender.rank(request([[2, 3]]), tf.constant([[4, 3, 1]]), scores)

    own, same, priced = rank(None), rank(f"weight_{head} * {head}"), rank("-price")
    np.testing.assert_array_equal(own.scores, same.scores)
    np.testing.assert_allclose(priced.scores[0, :2], -prices[[2, 1]], rtol=1e-6)
    assert np.isneginf(priced.scores[0, 2])  # Unknown items stay last.
