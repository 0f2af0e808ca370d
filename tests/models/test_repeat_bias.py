import numpy as np
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.tokens import Tokens, find_occurrences, request_tokens
from tfrec.models.repeat_bias import RepeatBias


def one_hot_items(tokens: Tokens) -> tf.Tensor:
    """The vector of items 2 and 3 is (1, 0) and (0, 1), that of others 0."""
    return tf.one_hot(tokens.item_index - 2, 2)


def repeat_logits(layer: RepeatBias, **inputs) -> dict[int, float]:
    """Sums the extra logits by item, for the newest query of one request."""
    tokens = request_tokens(request(**inputs))
    last = int(tf.reduce_sum(tokens.segment_ids)) - 1
    found = layer(
        tf.ones((1, 2)),
        tf.constant([last]),
        tokens,
        find_occurrences(tokens.item_index, tokens.segment_ids),
        one_hot_items(tokens),
    )
    totals: dict[int, float] = {}
    for item, logit in zip(found.item_index[0], found.logits[0], strict=True):
        if item:
            totals[int(item)] = totals.get(int(item), 0.0) + float(logit)
    return totals


def built_layer() -> RepeatBias:
    layer = RepeatBias(num_event_types=1)
    repeat_logits(layer, items=[[2]])
    return layer


def test_an_untrained_layer_adds_nothing():
    assert repeat_logits(built_layer(), items=[[2, 3, 2]]) == {2: 0.0, 3: 0.0}


def test_meetings_add_up_and_only_the_last_one_has_an_age():
    layer = built_layer()
    layer.count_logits.assign([0.1, 0.2, 0, 0, 0, 0, 0, 0])
    layer.gap_logits.assign(tf.range(32, dtype=tf.float32) / 100)
    found = repeat_logits(layer, items=[[2, 3, 2]], timestamps=[[1, 2, 70]], now=[133])
    # Item 2: first and second meeting, 63 s ago (bucket 7); item 3: 131 s (bucket 8).
    # The layer's weights count tenfold.
    np.testing.assert_allclose(found[2], 10 * (0.1 + 0.2 + 0.07), rtol=1e-5)
    np.testing.assert_allclose(found[3], 10 * (0.1 + 0.08), rtol=1e-5)


def test_unknown_items_are_never_repeated():
    layer = built_layer()
    layer.count_logits.assign(tf.ones(8))
    assert repeat_logits(layer, items=[[1, 4, 1]]).keys() == {4}


def test_query_decides_how_much_repeats_count():
    layer = built_layer()
    layer.query_weights.assign([0.2, 0.3])
    np.testing.assert_allclose(repeat_logits(layer, items=[[5, 5]])[5], 5.0, rtol=1e-5)


def test_events_of_another_segment_are_no_repeats():
    layer = built_layer()
    layer.count_logits.assign(tf.ones(8))
    first, second = (request_tokens(request([[item]])) for item in (2, 3))
    packed = Tokens(*(tf.concat(pair, 1) for pair in zip(first, second, strict=True)))
    packed = packed._replace(segment_ids=tf.constant([[1, 1, 2, 2]]))
    occurrences = find_occurrences(packed.item_index, packed.segment_ids)
    found = layer(
        tf.ones((2, 2)),
        tf.constant([1, 3]),
        packed,
        occurrences,
        one_hot_items(packed),
    )
    np.testing.assert_array_equal(found.item_index, [[0, 2, 0, 0], [0, 0, 0, 3]])
    np.testing.assert_array_equal(found.logits, [[0, 10, 0, 0], [0, 0, 0, 10]])


def test_config_round_trip():
    config = RepeatBias(num_event_types=3).get_config()
    assert RepeatBias.from_config(config).get_config()["num_event_types"] == 3


def test_type_of_the_last_meeting_alone_counts():
    layer = built_layer()
    layer.type_logits.assign([0.0, 0.0, 0.3])
    # The toys' events are all of type 2.
    np.testing.assert_allclose(repeat_logits(layer, items=[[2, 2]])[2], 3.0, rtol=1e-5)


def test_times_that_are_not_known_share_one_bucket():
    layer = built_layer()
    layer.gap_logits.assign(tf.one_hot(0, 32))
    unknown = repeat_logits(layer, items=[[2, 3]], timestamps=[[0, 5]], now=[9])
    np.testing.assert_allclose([unknown[2], unknown[3]], [10.0, 0.0])


def test_queries_see_no_later_event_and_no_other_segment():
    layer = built_layer()
    layer.count_logits.assign(tf.ones(8))
    tokens = request_tokens(request([[2, 3, 2, 4]]))
    segments = tf.constant([[1, 1, 1, 2, 2]])  # 0 2 3 | 2 4
    found = layer(
        tf.ones((3, 2)),
        tf.constant([1, 2, 4]),
        tokens._replace(segment_ids=segments),
        find_occurrences(tokens.item_index, segments),
        one_hot_items(tokens),
    )
    np.testing.assert_array_equal(
        found.item_index, [[0, 2, 0, 0, 0], [0, 2, 3, 0, 0], [0, 0, 0, 2, 4]]
    )
    np.testing.assert_allclose(found.logits, 10.0 * (found.item_index.numpy() > 0))


def test_some_kinds_of_items_come_back_when_their_time_is_up():
    layer = built_layer()
    kernel = np.zeros((2, 8), np.float32)
    kernel[0, 0] = 1.0  # Item 2 is of the first kind, item 3 of none.
    layer.item_kernel.assign(kernel)
    weights = np.zeros((2, 3, 32, 9), np.float32)
    weights[1, 2, 18, 0] = 0.4  # After a pause, event type 2, 2^17 s and more ago.
    weights[1, 2, 18, 8] = 0.1  # The same, for any kind.
    layer.return_weights.assign(weights.reshape(-1, 9))
    days = 200_000
    bought = [1, 2, 3, 1_000 + days - 60]
    back = repeat_logits(
        layer, items=[[2, 3, 4, 5]], timestamps=[bought], now=[1_000 + days]
    )
    assert set(back.values()) == {0.0}  # A minute after the last event.
    bought[-1] -= 7_200
    back = repeat_logits(
        layer, items=[[2, 3, 4, 5]], timestamps=[bought], now=[1_000 + days]
    )
    np.testing.assert_allclose(back[2], 5.0, rtol=1e-5)
    np.testing.assert_allclose([back[3], back[4], back[5]], [1.0, 1.0, 0.0], rtol=1e-5)


def test_steps_since_count_from_the_newest_event():
    layer = built_layer()
    layer.step_logits.assign(tf.range(33, dtype=tf.float32) / 100)
    found = repeat_logits(layer, items=[[2, 3, 4]])
    np.testing.assert_allclose([found[4], found[3], found[2]], [0, 0.1, 0.2], atol=1e-6)
