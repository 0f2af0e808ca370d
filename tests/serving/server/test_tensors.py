import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server.tensors import decode_tensor, encode_tensor

ARRAYS = [
    np.array([[b"a", b""], [b"\xff", b"b"]], object),
    np.array([-(2**62), 7], np.int64),
    np.array([[3, -4, 5]], np.int32),
    np.array([[0.5], [float("-inf")]], np.float32),
    np.array([1e300]),
    np.array([True, False]),
    np.zeros((2, 0), np.float32),
    np.zeros((0,), object),
    np.array(5, np.int64),
    np.array([1, 2], np.uint8),
    np.array([1, 2], np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_codecs_agree_with_those_of_tensorflow(array: np.ndarray) -> None:
    theirs = (
        tf.make_tensor_proto(array, tf.string)
        if array.dtype == object
        else tf.make_tensor_proto(array)
    )
    decoded = decode_tensor(theirs)
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)
    ours = tensor_pb2.TensorProto()
    encode_tensor(array, ours)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(tf.make_ndarray(ours), array)
    np.testing.assert_array_equal(decode_tensor(ours), array)


def test_numbers_are_written_as_typed_fields() -> None:
    ours = tensor_pb2.TensorProto()
    encode_tensor(np.array([[1.5, 2.5]], np.float32), ours)
    assert list(ours.float_val) == [1.5, 2.5]
    assert not ours.tensor_content


def test_the_last_value_repeats() -> None:
    message = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=[4, 5])
    message.tensor_shape.dim.add(size=4)
    np.testing.assert_array_equal(decode_tensor(message), tf.make_ndarray(message))
    assert decode_tensor(message).tolist() == [4, 5, 5, 5]


@pytest.mark.parametrize("values", [[], [1, 2, 3]])
def test_values_that_do_not_fill_the_shape_are_an_error(values: list[int]) -> None:
    message = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT64, int64_val=values)
    message.tensor_shape.dim.add(size=2)
    with pytest.raises(ValueError, match=rf"\[2\] needs 2 values, got {len(values)}"):
        decode_tensor(message)


@pytest.mark.parametrize("dtype", [types_pb2.DT_INT32, types_pb2.DT_STRING])
def test_a_few_bytes_cannot_claim_the_memory_of_the_server(dtype: int) -> None:
    message = tensor_pb2.TensorProto()
    message.dtype = dtype  # pyright: ignore[reportAttributeAccessIssue]
    message.int_val.append(7)
    message.string_val.append(b"a")
    for size in (10**6, 10**6):
        message.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match="needs 1000000000000 values, got 1"):
        decode_tensor(message)
