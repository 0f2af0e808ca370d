"""Negatives of all replicas: two with half a batch each are one with the whole."""

import os
import subprocess
import sys

import pytest

TWO_REPLICAS = """
import tfrec
from tfrec.config import TrainingConfig
from tfrec.training.strategies import make_strategy
strategy = make_strategy(TrainingConfig(num_logical_devices=2, strategy="mirrored"))
assert strategy.num_replicas_in_sync == 2, strategy
import numpy as np
import tensorflow as tf
from tests.models.toys import one_batch, toy_model
from tests.synthetic import make_sequences
from tfrec.models.cross_replica import first_own_row, gather_over_replicas
"""

GATHER = """
rows = [tf.constant([[1.0], [2.0]]), tf.constant([[3.0], [4.0], [5.0]])]

@tf.function
def step():
    def of_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.cond(tf.equal(number, 0), lambda: rows[0], lambda: rows[1])
        factor = tf.cast(number + 1, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(own)
            both = gather_over_replicas({"rows": own})["rows"]
            loss = factor * tf.reduce_sum(both ** 2)
        return both, first_own_row(tf.shape(own)[0]), tape.gradient(loss, own)
    return strategy.run(of_replica)

both, first, gradients = map(strategy.experimental_local_results, step())
for part in both:  # Replicas may differ in how many rows they have.
    np.testing.assert_array_equal(part, [[1], [2], [3], [4], [5]])
assert [int(f) for f in first] == [0, 2], first
# What both losses say of a row: (1 + 2) 2 x.
for gradient, own in zip(gradients, rows, strict=True):
    np.testing.assert_allclose(gradient, 6.0 * own)
outside = tf.constant([7])
assert gather_over_replicas(outside) is outside
"""

TRAIN = """
histories = [[0, 1, 2, 0], [3, 4, 3, 5], [6, 7, 1, 1], [5, 2, 5, 4]]

def batch(users, partners):
    rows = [histories[u] for u in users]
    whole = one_batch(make_sequences(rows, splits=[[0] * 4 for _ in users]),
                      max_length=5)
    # Two views a user: the history up to its third event, and a partner's.
    views = [[histories[u][:3] for u in who] for who in (users, partners)]
    views = views[0] + views[1]
    read = one_batch(make_sequences(views, splits=[[0] * 3 for _ in views]),
                     max_length=4)
    # Rows come in any order; the first event tells whose they are.
    first = read.tokens.item_index.numpy()[:, 1].tolist()
    last = tf.constant([3 * first.index(view[0] + 2) + 2 for view in views])
    items = tf.constant([targets[u] for u in users] * 2)
    chosen = read._replace(
        target_tokens=last, target_items=items, target_weights=tf.ones(len(views))
    )
    return whole._replace(views=chosen)

targets = {0: 2, 1: 3, 2: 2, 3: 4}  # Users of both replicas share one: no negatives.

def model(across, settings):
    toy = toy_model(repeat=False, cross_replica_negatives=across, **settings)
    # Uneven counts: with even ones logQ would cancel.
    toy.target_frequency.counts.assign(100.0 * np.arange(8) ** 2)
    toy.compile(optimizer=tf.keras.optimizers.SGD(0.5))
    return toy

def moves(toy, run):
    before = [weight.numpy() for weight in toy.trainable_variables]
    loss = run()
    after = [weight.numpy() for weight in toy.trainable_variables]
    return float(loss), [b - a for a, b in zip(before, after, strict=True)]

parts = [batch([0, 1], [2, 3]), batch([2, 3], [0, 1])]
whole = batch([0, 1, 2, 3], [2, 3, 0, 1])

def of_one(settings):
    toy = model(False, settings)
    result = moves(toy, lambda: toy.train_step(whole)["loss"])
    return *result, toy.target_frequency

def of_two(settings, across):
    with strategy.scope():
        toy = model(across, settings)

    @tf.function
    def step():
        def of_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            own = tf.nest.map_structure(lambda a, b: tf.stack([a, b])[number], *parts)
            return toy.train_step(own)["loss"]
        return strategy.reduce("MEAN", strategy.run(of_replica), axis=None)

    return *moves(toy, step), toy.target_frequency

cases = [
    {"loss": "in_batch"},
    # As many draws of 8 items leave none out, but once in 10^29: what is gathered
    # matters to the regulariser alone.
    {"loss": "sampled_softmax", "num_sampled_negatives": 512, "regulariser": "duorec",
     "regulariser_weight": 2.0, "regulariser_share": 1.0},
]
for settings in cases:
    loss, moved, counts = of_one(settings)
    found, both_moved, both_counts = of_two(settings, True)
    np.testing.assert_allclose(found, loss, rtol=1e-5, err_msg=str(settings))
    for one, two in zip(moved, both_moved, strict=True):
        np.testing.assert_allclose(two, one, atol=2e-5, err_msg=str(settings))
    assert max(np.abs(m).max() for m in moved) > 0.01
    shared = tf.convert_to_tensor(both_counts.counts)
    np.testing.assert_allclose(shared, counts.counts)
    apart = of_two(settings, False)
    assert abs(apart[0] - loss) > 1e-3, (settings, apart[0], loss)
"""


def run_alone(code: str) -> None:
    """Runs code in a process of its own: logical devices are made at its start."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS + code],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_gathered_rows_are_those_of_all_replicas_and_get_all_their_gradients():
    run_alone(GATHER)


@pytest.mark.slow
def test_a_step_with_gathered_negatives_is_that_of_one_with_the_whole_batch():
    # With plain gradient descent: Adam would hide a gradient of the wrong scale.
    run_alone(TRAIN)
