import numpy as np

from tests.synthetic import make_sequences
from tfrec.features.cooccurrence import cooccurrence_vectors, count_near

TRAIN = [[0] * 4] * 4


def test_pairs_count_the_inverse_of_their_distance_both_ways():
    near = count_near(np.array([0, 1, 0, 2]), np.array([5, 5, 5, 6]), 3).toarray()
    # 0-1 and 1-0 stand side by side; 0-0 is no pair, and 2 is another user's.
    np.testing.assert_allclose(near, [[0, 2, 0], [2, 0, 0], [0, 0, 0]])


def test_items_of_the_same_histories_are_alike_and_others_are_not():
    histories = [[0, 1, 2, 0], [1, 2, 0, 1], [3, 4, 5, 3], [4, 5, 3, 4]]
    sequences = make_sequences(histories, splits=TRAIN)
    vectors = cooccurrence_vectors(sequences, 6, dim=4, seed=0)[2:]
    alike = vectors @ vectors.T
    apart = np.repeat([0, 1], 3)
    same = apart[:, None] == apart
    assert alike[~same].max() < 0.01
    assert alike[same].min() > alike[~same].max() + 0.05


def test_items_without_a_pair_get_directions_of_their_own():
    sequences = make_sequences([[0, 1], [2]], splits=[[0, 0], [0]])
    vectors = cooccurrence_vectors(sequences, 3, dim=8, seed=0)
    assert vectors.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    other = cooccurrence_vectors(sequences, 3, dim=8, seed=1)
    assert not np.allclose(vectors[4], other[4])


def test_held_out_events_do_not_shape_the_vectors():
    long = make_sequences([[0, 1, 2, 3]], splits=[[0, 0, 1, 2]])
    short = make_sequences([[0, 1]], splits=[[0, 0]])
    np.testing.assert_array_equal(
        cooccurrence_vectors(long, 4, dim=4, seed=0),
        cooccurrence_vectors(short, 4, dim=4, seed=0),
    )


def test_a_log_without_any_pair_starts_at_random():
    vectors = cooccurrence_vectors(make_sequences([[0]]), 2, dim=4, seed=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
