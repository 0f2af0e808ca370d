import numpy as np
import tensorflow as tf

from tests.models.toys import toy_model, toy_sequences
from tests.synthetic import make_sequences
from tfrec.data.batches import TokenArrays
from tfrec.data.histories import RequestArrays, gather_requests
from tfrec.features.request import Request, request_of
from tfrec.features.tokens import Tokens, tokens_of

WITH_CONTEXT = make_sequences(
    [[0, 1, 2]], context={"country": np.array([5, 6, 7], np.int32)}
)


def gather() -> RequestArrays:
    return gather_requests(
        WITH_CONTEXT,
        np.array([0]),
        np.array([2]),
        request_timestamps=np.array([77]),
        context={"country": np.array([7], np.int32)},
        max_history_length=4,
    )


def test_arrays_and_tensors_have_the_same_fields():
    assert set(Request._fields) == set(RequestArrays._fields)
    assert set(Tokens._fields) == set(TokenArrays._fields)


def test_gathered_histories_keep_their_fields_and_kinds():
    arrays = gather()
    request = request_of(arrays)
    for name in Request._fields:
        assert getattr(request, name) is getattr(arrays, name)
    kinds = [
        tf.convert_to_tensor(value).dtype
        for value in (*request[:5], request.context["country"])
    ]
    ints, longs, floats = tf.int32, tf.int64, tf.float32
    assert kinds == [ints, ints, longs, floats, longs, ints]


def test_mask_is_true_for_real_events_unknown_items_among_them():
    request = request_of(gather())._replace(
        item_index=np.array([[4, 1, 0], [0, 0, 0]], np.int32)
    )
    np.testing.assert_array_equal(
        request.history_mask, [[True, True, False], [False] * 3]
    )


def test_token_arrays_keep_their_fields():
    arrays = TokenArrays(*(np.full((1, 1), i) for i in range(7)))
    tokens = tokens_of(arrays)
    for name in Tokens._fields:
        assert getattr(tokens, name) is getattr(arrays, name)


def test_model_reads_arrays_as_it_reads_tensors():
    model = toy_model()
    arrays = gather_requests(
        toy_sequences(),
        np.arange(3),
        np.array([4, 8, 10]),
        request_timestamps=np.array([95_000, 80, 9_000]),
        context={},
        max_history_length=6,
    )
    tensors = Request(
        *(tf.convert_to_tensor(a) for a in arrays[:5]),
        context={},
    )
    vectors = model.item_vectors()
    found = model.encode(request_of(arrays), vectors).embeddings
    expected = model.encode(tensors, vectors).embeddings
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-6)
