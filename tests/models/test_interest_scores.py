"""Scores of queries of several vectors, against plain numpy."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.interest_scores import (
    catalogue_scores,
    interest_scores,
    matching_interests,
    mean_interest,
    own_scores,
    paired_scores,
)

RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(3, 2, 4)).astype(np.float32)
ITEMS = RNG.normal(size=(5, 4)).astype(np.float32)
OWN = RNG.normal(size=(3, 6, 4)).astype(np.float32)


def test_an_item_of_the_catalogue_is_scored_by_its_best_vector():
    expected = [[max(v @ item for v in query) for item in ITEMS] for query in QUERIES]
    found = catalogue_scores(tf.constant(QUERIES), tf.constant(ITEMS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    by_interest = interest_scores(tf.constant(QUERIES), tf.constant(ITEMS))
    np.testing.assert_allclose(by_interest[1, 1], ITEMS @ QUERIES[1, 1], rtol=1e-5)


def test_an_item_of_ones_own_is_scored_by_its_best_vector():
    first = OWN[:, 0]
    expected = [
        max(v @ i for v in query) for query, i in zip(QUERIES, first, strict=True)
    ]
    found = paired_scores(tf.constant(QUERIES), tf.constant(first))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    several = own_scores(tf.constant(QUERIES), tf.constant(OWN))
    np.testing.assert_allclose(several[:, 0], expected, rtol=1e-5)
    assert several.shape == (3, 6)


def test_a_candidate_is_matched_with_the_vector_that_scores_it_highest():
    found = matching_interests(tf.constant(QUERIES), tf.constant(OWN)).numpy()
    for query, items, vectors in zip(QUERIES, OWN, found, strict=True):
        for item, vector in zip(items, vectors, strict=True):
            best = query[int(np.argmax(query @ item))]
            np.testing.assert_array_equal(vector, best)
    assert len({tuple(vector) for vector in found[0]}) == 2  # Both are some item's.


def test_one_vector_scores_as_several_that_are_equal():
    one = tf.constant(QUERIES[:, 0])
    equal = tf.repeat(one[:, tf.newaxis], 3, axis=1)
    items, own = tf.constant(ITEMS), tf.constant(OWN)
    for score, against in (
        (catalogue_scores, items),
        (paired_scores, own[:, 0]),
        (own_scores, own),
        (matching_interests, own),
    ):
        np.testing.assert_allclose(
            score(one, against), score(equal, against), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(mean_interest(one), mean_interest(equal), rtol=1e-6)
    np.testing.assert_allclose(
        mean_interest(tf.constant(QUERIES)), QUERIES.mean(axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("score", [own_scores, matching_interests])
def test_no_query_has_no_score(score):
    shape = score(tf.zeros((0, 2, 4)), tf.zeros((0, 6, 4))).shape
    assert shape[:2] == (0, 6)
    assert catalogue_scores(tf.zeros((0, 2, 4)), tf.constant(ITEMS)).shape == (0, 5)
