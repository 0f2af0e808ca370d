import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config, read_config
from tfrec.data.simulator import simulate, sized_config
from tfrec.training.run import load_recommender, train

FAST = [
    *("--retrieval.embedding_dim", "8", "--retrieval.feedforward_dim", "8"),
    *("--retrieval.max_history_length", "8", "--ranking.num_candidates", "20"),
    *("--ranking.hidden_dims", "[4]", "--training.ranking.max_epochs", "2"),
    *("--training.retrieval.max_epochs", "2", "--evaluation.num_bootstrap", "20"),
    *("--evaluation.baselines", "[pop, repeat]"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop")
    return simulate(sized_config("tiny", seed=1), path / "shop").config_path


def configure(shop: Path, run_dir: Path, *more: str) -> ExperimentConfig:
    argv = ["--config", str(shop), *FAST, *more, "--run_dir", str(run_dir)]
    prepared = ["--data.prepared_dir", str(shop.parent.parent / "prepared")]
    return load_config([*argv, *prepared], description="")


@pytest.fixture(scope="module")
def run(shop: Path) -> Path:
    path = shop.parent.parent / "run"
    truth = str(shop.parent / "truth")
    train(configure(shop, path, "--evaluation.oracle_dir", truth))
    return path


def test_run_leaves_everything_that_a_later_reader_needs(run):
    files = {p.name for p in run.iterdir()}
    assert files >= {
        *("config.yaml", "schema.json", "versions.json", "metrics.json", "report.md"),
        *("training_curves.png", "metrics.png", "timings.json"),
    }
    scorers = json.loads((run / "metrics.json").read_text())["scorers"]
    assert list(scorers) == ["ranking", "retrieval", "pop", "repeat", "oracle"]
    for scorer in scorers.values():
        assert 0 <= scorer["metrics"]["NDCG@10"] <= scorer["metrics"]["HR@10"] <= 1
    assert scorers["oracle"]["metrics"]["NDCG@10"] == max(
        s["metrics"]["NDCG@10"] for s in scorers.values()
    )
    for stage in ("retrieval", "ranking"):
        history = json.loads((run / stage / "history.json").read_text())
        assert history["epoch"] == list(range(1, len(history["epoch"]) + 1))
        assert not (run / stage / "backup").exists()


def test_loaded_models_score_like_the_trained_ones(run):
    from tfrec.training.evaluation import evaluate_run

    before = json.loads((run / "metrics.json").read_text())
    recommender, dataset, config = load_recommender(run)
    after = evaluate_run(config, dataset, recommender)
    for name, scorer in before["scorers"].items():
        assert after["scorers"][name]["metrics"] == pytest.approx(scorer["metrics"])


def test_finished_stages_are_not_trained_again(run, shop):
    truth = str(shop.parent / "truth")
    histories = {p: p.stat().st_mtime_ns for p in run.glob("*/history.json")}
    assert len(histories) == 2
    train(configure(shop, run, "--evaluation.oracle_dir", truth))
    assert {p: p.stat().st_mtime_ns for p in histories} == histories


def test_another_configuration_is_refused_by_the_folder_of_a_run(run, shop):
    config = configure(shop, run, "--seed", "7")
    with pytest.raises(ValueError, match=r"another configuration.*'seed'"):
        train(config)


def test_unfinished_run_says_how_to_go_on(tmp_path, shop):
    with pytest.raises(FileNotFoundError, match="No run in"):
        load_recommender(tmp_path)
    config = configure(shop, tmp_path / "run")
    from tfrec.run_record import write_run_record

    write_run_record(config)
    with pytest.raises(FileNotFoundError, match="not trained to its end"):
        load_recommender(tmp_path / "run")


@pytest.mark.slow
def test_killed_run_goes_on_behind_its_last_whole_epoch(tmp_path, shop):
    run_dir = tmp_path / "run"
    many = ("--training.retrieval.max_epochs", "12", "--ranking", "null")
    fast = [a for a in FAST]
    for name in ("--ranking.num_candidates", "--ranking.hidden_dims"):
        del fast[fast.index(name) : fast.index(name) + 2]
    command = [sys.executable, "-m", "tfrec.train", "--config", str(shop), *fast, *many]
    command += ["--run_dir", str(run_dir), "--training.retrieval.patience", "12"]
    command += ["--data.prepared_dir", str(shop.parent.parent / "prepared")]
    history = run_dir / "retrieval" / "history.json"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (history.is_file() and len(json.loads(history.read_text())["epoch"]) > 2):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = json.loads(history.read_text())
    assert 3 <= len(before["epoch"]) < 12
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = json.loads(history.read_text())
    assert after["epoch"] == list(range(1, 13))
    # Of the epoch that was being saved in that moment nothing may be kept.
    kept = len(before["epoch"]) - 1
    for name, values in before.items():
        assert after[name][:kept] == values[:kept]
    assert (run_dir / "metrics.json").is_file()


def test_loss_that_is_no_number_ends_with_an_explanation(tmp_path, shop):
    from tfrec.training.callbacks import TrainingDivergedError

    config = configure(
        shop,
        tmp_path / "run",
        *("--training.retrieval.optimizer.learning_rate", "1e38"),
        *("--training.retrieval.optimizer.gradient_clip_norm", "null"),
    )
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        train(config)


def test_training_on_two_logical_devices_lowers_the_loss(tmp_path, shop):
    code = """
import sys, tfrec
from tfrec.config import TrainingConfig
from tfrec.training.strategies import make_strategy
strategy = make_strategy(TrainingConfig(num_logical_devices=2))
assert strategy.num_replicas_in_sync == 2, strategy
from tfrec.config_file import read_config
from tfrec.training.run import train
train(read_config(sys.argv[1]))
import json
history = read_config(sys.argv[1]).run_path / "retrieval" / "history.json"
print("LOSSES", *json.loads(history.read_text())["loss"])
"""
    from tfrec.config_file import save_config

    config = configure(
        shop,
        tmp_path / "run",
        *("--training.num_logical_devices", "2", "--training.strategy", "mirrored"),
        *("--training.retrieval.max_epochs", "3"),
    )
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "config.yaml")],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.search(r"LOSSES (.*)", done.stdout)
    assert found is not None
    losses = np.array([float(x) for x in found[1].split()])
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_two_workers_train_one_model(tmp_path, shop):
    from tfrec.config_file import save_config

    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    workers = []
    for index in range(2):
        more = ("--training.retrieval.max_epochs", "2")
        config = configure(shop, tmp_path / f"run{index}", *more)
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
    from tfrec.config import TrainingConfig
    from tfrec.training.strategies import make_strategy

    tf.constant(0.0)  # TensorFlow has started.
    with pytest.raises(ValueError, match="num_logical_devices"):
        make_strategy(TrainingConfig(num_logical_devices=3))


def test_several_workers_need_a_cluster(monkeypatch):
    from tfrec.config import TrainingConfig
    from tfrec.training.strategies import make_strategy

    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="multi_worker.*TF_CONFIG"):
        make_strategy(TrainingConfig(strategy="multi_worker"))
    assert make_strategy(TrainingConfig()).num_replicas_in_sync == 1
