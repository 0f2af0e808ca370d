import numpy as np
import tensorflow as tf

from tfrec.models.streaming_frequency import StreamingFrequency

START = [0.5, 0.25, 0.25]


def test_shares_go_from_the_start_to_what_is_counted():
    layer = StreamingFrequency(START)
    np.testing.assert_allclose(layer(tf.constant([2])), START)
    targets = tf.constant([3, 3, 4, 3] * 250)  # 1,000, as much as the start is worth.
    found = layer(targets, training=True)
    np.testing.assert_allclose(found, [0.25, 0.5, 0.25], rtol=1e-6)
    for _ in range(200):
        found = layer(targets, training=True)
    np.testing.assert_allclose(found, [0.0, 0.75, 0.25], atol=5e-3)


def test_only_training_counts():
    layer = StreamingFrequency(START)
    before = layer(tf.constant([3]), training=True).numpy()
    layer(tf.constant([4, 4, 4]))
    np.testing.assert_array_equal(layer(tf.constant([], tf.int32)), before)


def test_counting_works_in_a_graph_under_a_strategy():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        layer = StreamingFrequency(START)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def step(items: tf.Tensor) -> tf.Tensor:
        return strategy.run(lambda: layer(items, training=True))

    step(tf.constant([2, 4]))
    step(tf.constant([4]))
    np.testing.assert_array_equal(layer.counts, [1.0, 0.0, 2.0])


def test_configuration_survives():
    layer = StreamingFrequency(START, is_shared=True)
    restored = StreamingFrequency.from_config(layer.get_config())
    np.testing.assert_allclose(restored(tf.constant([2])), START)
    assert restored.counts.aggregation == tf.VariableAggregation.MEAN


def test_counts_stay_whole_under_mixed_precision():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = StreamingFrequency(START)
        layer(tf.fill([257], 2), training=True)  # bfloat16 would make it 256.
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    np.testing.assert_array_equal(layer.counts, [257.0, 0.0, 0.0])
