"""The greedy selection against one written in plain Python, and on lists by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.list_rules import ListRules, choose_by_rules


def choose(
    scores: list[list[float]],
    *,
    k: list[int],
    promised: list[list[bool]] | None = None,
    values: list[list[list[int]]] | None = None,
    caps: list[list[int]] | None = None,
    diversity: list[float] | None = None,
    vectors: np.ndarray | None = None,
) -> list[list[int]]:
    """Returns the candidates of each list; -1 is an empty place."""
    shape = np.shape(scores)
    rules = ListRules(
        tf.constant(k, tf.int32),
        tf.constant(np.zeros(shape, bool) if promised is None else promised),
        tf.constant(np.zeros((*shape, 0)) if values is None else values, tf.int32),
        tf.constant(np.zeros((shape[0], 0)) if caps is None else caps, tf.int32),
        tf.constant(diversity or [0.0] * shape[0], tf.float32),
        tf.constant(np.zeros((*shape, 0)) if vectors is None else vectors, tf.float32),
    )
    run = tf.function(choose_by_rules, reduce_retracing=True)
    order, filled = run(tf.constant(scores, tf.float32), tf.constant(max(k)), rules)
    places = np.where(filled, order, -1)
    return [row[:n].tolist() for row, n in zip(places, k, strict=True)]


def by_brute_force(
    scores: np.ndarray,
    *,
    k: int,
    promised: np.ndarray,
    values: np.ndarray,
    caps: np.ndarray,
    diversity: float,
    vectors: np.ndarray,
) -> list[int]:
    """One list, place by place, with loops."""
    real = [c for c in range(len(scores)) if np.isfinite(scores[c])]
    low, high = min(scores[real]), max(scores[real])
    chosen: list[int] = []
    while len(chosen) < k:
        left = [c for c in real if c not in chosen]
        waiting = [c for c in left if promised[c]]
        if waiting and len(waiting) >= k - len(chosen):
            left = waiting
        else:
            left = [
                c
                for c in left
                if promised[c]
                or all(
                    cap <= 0
                    or values[c, a] == 0
                    or sum(values[s, a] == values[c, a] for s in chosen) < cap
                    for a, cap in enumerate(caps)
                )
            ]
        if not left:
            return chosen + [-1] * (k - len(chosen))

        def value(c: int) -> float:
            if diversity == 0:
                return scores[c]
            nearest = max((vectors[c] @ vectors[s] for s in chosen), default=-1.0)
            relevance = (scores[c] - low) / (high - low)
            return (1 - diversity) * relevance - diversity * nearest

        chosen.append(max(left, key=value))  # The first of equals.
    return chosen


@pytest.mark.parametrize("seed", range(6))
def test_lists_are_those_of_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    num_rows, num_candidates = 5, 9
    scores = rng.normal(size=(num_rows, num_candidates))
    scores[rng.random(scores.shape) < 0.15] = -np.inf
    vectors = rng.normal(size=(*scores.shape, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    promised = rng.random(scores.shape) < 0.2
    values = rng.integers(0, 4, size=(*scores.shape, 2))
    caps = rng.integers(0, 3, size=(num_rows, 2))
    diversity = np.where(rng.random(num_rows) < 0.4, 0.0, rng.random(num_rows))
    k = rng.integers(1, num_candidates + 1, size=num_rows).tolist()
    found = choose(
        scores.tolist(),
        k=k,
        promised=promised.tolist(),
        values=values.tolist(),
        caps=caps.tolist(),
        diversity=diversity.tolist(),
        vectors=vectors,
    )
    expected = [
        by_brute_force(
            scores[b],
            k=k[b],
            promised=promised[b],
            values=values[b],
            caps=caps[b],
            diversity=diversity[b],
            vectors=vectors[b],
        )
        for b in range(num_rows)
    ]
    assert found == expected


def test_without_a_rule_the_order_is_that_of_top_k_ties_included():
    scores = [[1.0, 3.0, 3.0, 1.0 + 1e-7, -np.inf]]
    assert choose(scores, k=[5]) == [[1, 2, 3, 0, -1]]


def test_a_cap_passes_over_what_is_full_and_leaves_places_empty():
    scores = [[9.0, 8.0, 7.0, 6.0, 5.0]] * 3
    brands = [[[1], [1], [1], [2], [0]]] * 3
    found = choose(scores, k=[5, 5, 3], values=brands, caps=[[2], [0], [1]])
    assert found == [[0, 1, 3, 4, -1], [0, 1, 2, 3, 4], [0, 3, 4]]


def test_items_without_a_value_are_not_counted_together():
    found = choose([[3.0, 2.0, 1.0]], k=[3], values=[[[0], [0], [0]]], caps=[[1]])
    assert found == [[0, 1, 2]]


def test_two_caps_hold_at_once():
    values = [[[1, 1], [1, 2], [2, 1], [2, 2]]]
    found = choose([[4.0, 3.0, 2.0, 1.0]], k=[3], values=values, caps=[[1, 1]])
    assert found == [[0, 3, -1]]


def test_a_promised_item_takes_its_own_place_or_the_last():
    scores = [[4.0, 3.0, 2.0, 1.0]] * 3
    promised = [
        [False, True, False, False],
        [False, False, False, True],
        [True, False, True, True],
    ]
    found = choose(scores, k=[2, 2, 2], promised=promised)
    # The third row is promised more than there are places: the best of them.
    assert found == [[0, 1], [0, 3], [0, 2]]


def test_a_promised_item_is_not_capped_but_counts():
    found = choose(
        [[4.0, 3.0, 2.0, 1.0]],
        k=[3],
        promised=[[False, False, True, False]],
        values=[[[1], [2], [1], [2]]],
        caps=[[1]],
    )
    assert found == [[0, 1, 2]]
    first = choose(
        [[4.0, 3.0, 2.0]],
        k=[3],
        promised=[[True, False, False]],
        values=[[[1], [1], [2]]],
        caps=[[1]],
    )
    assert first == [[0, 2, -1]]


def test_diversity_avoids_what_is_like_the_chosen():
    vectors = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    scores = [[1.0, 0.9, 0.0]]
    assert choose(scores, k=[3], diversity=[0.0], vectors=vectors) == [[0, 1, 2]]
    # Second place: .6 * .9 - .4 * 1 = .14 for the twin, .6 * 0 - .4 * 0 for the other.
    assert choose(scores, k=[3], diversity=[0.4], vectors=vectors) == [[0, 1, 2]]
    # .4 * .9 - .6 = -.24 against 0.
    assert choose(scores, k=[3], diversity=[0.6], vectors=vectors) == [[0, 2, 1]]


def test_nothing_but_diversity_begins_with_the_first_candidate():
    vectors = np.array([[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]])
    scores = [[0.0, 2.0, 1.0]]
    assert choose(scores, k=[3], diversity=[1.0], vectors=vectors) == [[0, 2, 1]]


@pytest.mark.parametrize("strength", [np.nan, -3.0])
def test_a_strength_that_is_none_is_off(strength: float):
    vectors = np.array([[[1.0], [1.0], [-1.0]]])
    found = choose([[3.0, 2.0, 1.0]], k=[3], diversity=[strength], vectors=vectors)
    assert found == [[0, 1, 2]]


def test_rows_do_not_see_one_another():
    scores = [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]
    vectors = np.array([[[1.0], [1.0], [-1.0]]] * 2)
    settings = {"values": [[[1], [1], [2]]] * 2, "vectors": vectors}
    together = choose(
        scores, k=[3, 1], caps=[[0], [1]], diversity=[0.9, 0.0], **settings
    )
    assert together == [[0, 2, 1], [0]]


def test_scores_at_the_ends_of_float32_stay_comparable():
    lowest, highest = np.finfo(np.float32).min, np.finfo(np.float32).max
    vectors = np.array([[[1.0], [1.0], [1.0]]])
    found = choose(
        [[0.0, float(highest), float(lowest)]],
        k=[3],
        diversity=[0.5],
        vectors=vectors,
    )
    assert found == [[1, 0, 2]]


def test_a_batch_without_rows_gives_none():
    rules = ListRules(
        tf.zeros((0,), tf.int32),
        tf.zeros((0, 3), tf.bool),
        tf.zeros((0, 3, 1), tf.int32),
        tf.zeros((0, 1), tf.int32),
        tf.zeros((0,)),
        tf.zeros((0, 3, 2)),
    )
    order, filled = choose_by_rules(tf.zeros((0, 3)), tf.constant(2), rules)
    assert order.shape == filled.shape == (0, 2)
