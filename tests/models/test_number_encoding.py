import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.number_encoding import NumberEncoding, bin_edges


def encoded_with(edges: list[list[float]], numbers: list[float]) -> np.ndarray:
    layer = NumberEncoding(len(edges[0]) - 1)
    layer.build((None, len(edges)))
    layer.edges.assign(edges)
    return layer(tf.constant([numbers])).numpy()[0]


def test_a_number_fills_the_bins_below_it_and_its_own_in_part():
    # Bins 0-1, 1-3 and 3-4 of the first number; 0-10, 10-20 and 20-30 of the second.
    found = encoded_with([[0, 1, 3, 4], [0, 10, 20, 30]], [2.0, 25.0])
    np.testing.assert_allclose(found, [1, 0.5, 0, 1, 1, 0.5], rtol=1e-6)


@pytest.mark.parametrize(("number", "expected"), [(-5.0, [0, 0]), (9.0, [1, 1])])
def test_numbers_beyond_the_edges_are_like_those_at_them(number, expected):
    np.testing.assert_allclose(encoded_with([[0, 1, 2]], [number]), expected)


def test_bins_without_width_are_zero_whatever_the_number():
    np.testing.assert_allclose(encoded_with([[3, 3, 5]], [4.0]), [0, 0.5])


def test_without_edges_the_encoding_is_zero():
    layer = NumberEncoding(3)
    np.testing.assert_array_equal(
        layer(tf.constant([[[1.0, -2.0]]])), np.zeros((1, 1, 6))
    )


def test_edges_of_distinct_values_are_their_quantiles():
    # 0 ... 8 in four bins: a value counts 1 / 9; the first that reach 1/4, 1/2, 3/4.
    np.testing.assert_array_equal(bin_edges(np.arange(9.0), 4), [0, 2, 4, 6, 8])


def test_a_value_that_most_have_takes_half_a_bin_not_all_of_them():
    values = np.concatenate([np.zeros(84), np.arange(1.0, 17.0)])  # 100 values.
    edges = bin_edges(values, 4)
    # The zeros weigh 100 // 8 = 12, the others 16: reached are 12/28, 13/28, 14/28 ...
    # so 1/4 is at 0, 1/2 at the second of the others, 3/4 (21/28) at the ninth.
    np.testing.assert_array_equal(edges, [0, 0, 2, 9, 16])


def test_edges_from_data_set_every_number_apart():
    layer = NumberEncoding(2)
    layer.build((None, 2))
    layer.set_edges(np.array([[0, 10], [1, 20], [2, 30]], np.float32))
    np.testing.assert_array_equal(layer.edges, [[0, 1, 2], [10, 20, 30]])


@pytest.mark.parametrize(
    ("values", "received"),
    [(np.zeros((0, 2)), "0 rows"), (np.array([[1.0, np.nan]]), "1 numbers")],
)
def test_edges_need_finite_numbers(values, received):
    layer = NumberEncoding(2)
    layer.build((None, 2))
    with pytest.raises(ValueError, match=received):
        layer.set_edges(values)


def test_the_layer_comes_back_from_its_configuration():
    layer = NumberEncoding(5, name="bins")
    again = NumberEncoding.from_config(layer.get_config())
    assert (again.num_bins, again.name) == (5, "bins")


def test_unknown_sizes_keep_the_width():
    layer = NumberEncoding(3)
    run = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 2])])
    assert run.get_concrete_function().output_shapes.as_list() == [None, None, 6]
    assert run(tf.zeros([0, 4, 2])).shape == (0, 4, 6)
