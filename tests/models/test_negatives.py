import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.negatives import draw_negatives, inclusion_probability


def test_every_negative_is_an_item_and_stands_once():
    drawn = draw_negatives(tf.constant([4, 4, 4, 7]), num_uniform=50, num_items=6)
    index = drawn.item_index.numpy()
    assert len(index) == len(set(index))
    assert set(index) <= {2, 3, 4, 5, 6, 7}
    assert {4, 7} <= set(index)  # All four targets are drawn.
    assert int(drawn.num_in_batch) == 4


def test_no_more_targets_are_drawn_than_catalogue_items():
    targets = tf.range(1_000, 1_020)  # Beyond what the catalogue's draws reach.
    drawn = draw_negatives(targets, num_uniform=3, num_items=10)
    assert int(drawn.num_in_batch) == 3
    assert np.sum(drawn.item_index.numpy() >= 1_000) == 3


@pytest.mark.parametrize("num_uniform", [1, 4])
def test_probability_is_how_often_an_item_is_drawn(num_uniform):
    """Targets of many batches, drawn with the frequencies that training knows."""
    frequency = np.array([0.5, 0.3, 0.15, 0.05], np.float32)
    rng = np.random.default_rng(0)
    tf.random.set_seed(0)
    num_batches, counts = 3_000, np.zeros(4)
    draw = tf.function(
        lambda targets: draw_negatives(targets, num_uniform=num_uniform, num_items=4)
    )
    for targets in rng.choice(4, size=(num_batches, 4), p=frequency / frequency.sum()):
        counts[draw(tf.constant(targets + 2, tf.int32)).item_index.numpy() - 2] += 1
    expected = inclusion_probability(
        tf.constant(frequency),
        num_in_batch=num_uniform,
        num_uniform=num_uniform,
        num_items=4,
    )
    # Four standard deviations of a share over 3,000 batches are at most 0.037.
    np.testing.assert_allclose(counts / num_batches, expected, atol=0.037)


def test_rare_items_keep_their_small_probability():
    found = inclusion_probability(
        tf.constant([1e-9]), num_in_batch=10, num_uniform=0, num_items=5
    )
    np.testing.assert_allclose(found, [1e-8], rtol=1e-4)  # 1 - (1 - x)^10 = 10 x.
