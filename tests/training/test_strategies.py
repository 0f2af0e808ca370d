import contextlib
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import configure_shop
from tfrec.config import TrainingConfig
from tfrec.config_file import save_config
from tfrec.training.strategies import make_strategy

ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}

ONE_STEP = """
import tfrec
from tfrec.config import TrainingConfig
from tfrec.training.strategies import make_strategy
strategy = make_strategy(TrainingConfig(num_logical_devices=2, strategy="mirrored"))
assert strategy.num_replicas_in_sync == 2, strategy
import numpy as np
import tensorflow as tf
from tests.models.toys import one_batch, toy_model
from tests.synthetic import make_sequences

histories = [[0, 1, 2, 0], [3, 4, 3, 5], [6, 7, 1, 1], [5, 2, 5, 4]]

def batch(users):
    rows = [histories[u] for u in users]
    splits = [[0] * 4 for _ in users]
    return one_batch(make_sequences(rows, splits=splits), max_length=5)

def model():
    toy = toy_model()
    toy.compile(optimizer=tf.keras.optimizers.SGD(0.5))
    return toy

whole = model()
start = [weight.numpy() for weight in whole.trainable_variables]
loss = whole.train_step(batch([0, 1, 2, 3]))["loss"]
with strategy.scope():
    halves = model()
parts = [batch([0, 1]), batch([2, 3])]

@tf.function
def step():
    def of_replica():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.nest.map_structure(lambda a, b: tf.stack([a, b])[number], *parts)
        return halves.train_step(own)["loss"]
    return strategy.reduce("MEAN", strategy.run(of_replica), axis=None)

np.testing.assert_allclose(step(), loss, rtol=1e-5)
moved = 0.0
for before, one, two in zip(
    start, whole.trainable_variables, halves.trainable_variables, strict=True
):
    np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-5)
    moved = max(moved, np.abs(one.numpy() - before).max())
assert moved > 0.01, moved
"""


def test_a_step_of_two_replicas_is_that_of_one_with_the_whole_batch():
    # With plain gradient descent: Adam would hide a gradient of the wrong scale.
    done = subprocess.run(
        [sys.executable, "-c", ONE_STEP],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_training_on_two_logical_devices_lowers_the_loss(tmp_path, shop):
    config = configure_shop(
        shop,
        tmp_path / "run",
        *("--training.num_logical_devices", "2", "--training.strategy", "mirrored"),
        *("--training.retrieval.max_epochs", "3"),
        *("--training.ranking.max_epochs", "4"),
    )
    save_config(config, tmp_path / "config.yaml")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tfrec.train",
            "--config",
            str(tmp_path / "config.yaml"),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in ("retrieval", "ranking"):
        history = tmp_path / "run" / stage / "history.json"
        losses = json.loads(history.read_text())["loss"]
        assert np.isfinite(losses).all()
        # It is the loss of an epoch's last batch, and batches differ.
        assert min(losses[1:]) < losses[0]


@pytest.mark.slow
def test_two_workers_train_one_model(tmp_path, shop):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    workers = []
    for index in range(2):
        more = ("--training.retrieval.max_epochs", "2")
        config = configure_shop(shop, tmp_path / f"run{index}", *more)
        save_config(config, tmp_path / f"config{index}.yaml")
        cluster = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "tfrec.train"]
                + ["--config", str(tmp_path / f"config{index}.yaml")],
                env={
                    **os.environ,
                    "TF_CONFIG": json.dumps(cluster),
                    "TF_CPP_MIN_LOG_LEVEL": "3",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        outputs = [worker.communicate(timeout=240)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    for worker, output in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, output[-3000:]
    results = [
        json.loads((tmp_path / f"run{i}" / "metrics.json").read_text())["scorers"]
        for i in range(2)
    ]
    # Both hold the same model.
    assert results[0]["ranking"]["metrics"] == pytest.approx(
        results[1]["ranking"]["metrics"]
    )


def test_logical_devices_after_the_start_are_refused():
    tf.constant(0.0)  # TensorFlow has started.
    with pytest.raises(ValueError, match="num_logical_devices"):
        make_strategy(TrainingConfig(num_logical_devices=3))


def test_several_workers_need_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="multi_worker.*TF_CONFIG"):
        make_strategy(TrainingConfig(strategy="multi_worker"))
    assert make_strategy(TrainingConfig()).num_replicas_in_sync == 1
