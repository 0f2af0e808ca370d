import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.tokens import find_occurrences, request_tokens
from tfrec.models.event_encoder import EventEncoder

DIM = 3
ITEMS = [2, 3, 2]
TIMES, NOW = [10, 20, 36], 99
DWELL = [0.0, 7.0, 1.0]
# 1 + floor(log2(1 + gap)); the start token has none.
GAPS_AHEAD = [0, 4, 5, 7]  # 10, 16 and 63 seconds.
GAPS_BACK = [0, 0, 4, 5]  # The first event has nothing before it.


def encode(encoder: EventEncoder, items: list[int] = ITEMS, **inputs) -> np.ndarray:
    tokens = request_tokens(request([items], **inputs))
    vectors = tf.one_hot(tokens.item_index, DIM, dtype=tf.float32) * 2.0
    occurrences = find_occurrences(tokens.item_index, tokens.segment_ids)
    return encoder(tokens, vectors, occurrences).numpy()[0]


def built_encoder(*, use_request_time: bool = True, max_tokens: int = 9):
    encoder = EventEncoder(
        DIM, 2, max_tokens, use_request_time=use_request_time, dropout=0.0
    )
    encode(encoder)
    for i, weight in enumerate(encoder.trainable_weights):
        weight.assign(tf.random.stateless_normal(tf.shape(weight), (0, i)))
    return encoder


@pytest.mark.parametrize(
    ("ahead", "gaps"), [(True, GAPS_AHEAD), (False, GAPS_BACK)], ids=["ahead", "back"]
)
def test_event_is_the_sum_of_its_parts(ahead, gaps):
    encoder = built_encoder(use_request_time=ahead)
    found = encode(encoder, timestamps=[TIMES], now=[NOW], dwell=[DWELL])
    a, b = encoder.dwell_weight.numpy()
    types, counts = [0, 2, 2, 2], [0, 0, 0, 1]
    for place, item in enumerate([0, *ITEMS]):
        dwell = [0.0, *DWELL][place]
        weight = 2 / (1 + np.exp(-(a * np.log(1 + dwell) + b))) if dwell else 1.0
        expected = (
            weight * 2.0 * np.eye(4)[item][:DIM]  # One-hot vectors of width 3.
            + encoder.type_table.embeddings.numpy()[types[place]]
            + encoder.gap_table.embeddings.numpy()[gaps[place]]
            + encoder.position_table.embeddings.numpy()[place]
            + encoder.count_table.embeddings.numpy()[counts[place]]
        )
        np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-6)


def test_dwell_changes_nothing_before_training():
    encoder = EventEncoder(DIM, 2, 9, use_request_time=True, dropout=0.0)
    np.testing.assert_array_equal(
        encode(encoder, dwell=[DWELL]), encode(encoder, dwell=[[0.0] * 3])
    )


def test_unknown_times_have_a_bucket_of_their_own():
    encoder = built_encoder()
    encoder.gap_table.embeddings.assign(tf.zeros_like(encoder.gap_table.embeddings))
    without_gaps = encode(encoder, timestamps=[TIMES], now=[NOW])
    row = tf.eye(len(encoder.gap_table.embeddings.numpy()))[0]  # Bucket 0 alone.
    encoder.gap_table.embeddings.assign(tf.repeat(row[:, tf.newaxis], DIM, axis=1))
    # The second event's time is unknown: neither it nor the first has a gap.
    found = encode(encoder, timestamps=[[10, 0, 36]], now=[NOW])
    expected = without_gaps + np.array([1, 1, 1, 0])[:, np.newaxis]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_meetings_beyond_the_last_bucket_share_it():
    encoder = built_encoder(max_tokens=30)
    encoder.position_table.embeddings.assign(
        tf.zeros_like(encoder.position_table.embeddings)
    )
    found = encode(encoder, [2] * 10)  # No times: only the count differs.
    np.testing.assert_array_equal(found[8], found[9])  # Met 7 and 8 times before.
    assert np.abs(found[7] - found[8]).max() > 1e-3  # 6 and 7.


def test_places_beyond_the_table_share_its_last_row():
    encoder = built_encoder(max_tokens=3)
    encoder.count_table.embeddings.assign(tf.zeros_like(encoder.count_table.embeddings))
    found = encode(encoder, [2] * 5)
    np.testing.assert_array_equal(found[2], found[5])
    assert np.abs(found[1] - found[2]).max() > 1e-3
