import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.conftest import FAST_RETRIEVAL, configure_shop
from tfrec.run_record import write_run_record
from tfrec.training.callbacks import TrainingDivergedError
from tfrec.training.evaluation import evaluate_run
from tfrec.training.run import load_recommender, train


@pytest.fixture(scope="module")
def run(shop: Path) -> Path:
    path = shop.parent.parent / "run"
    truth = str(shop.parent / "truth")
    train(configure_shop(shop, path, "--evaluation.oracle_dir", truth))
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
    before = json.loads((run / "metrics.json").read_text())
    recommender, dataset, config = load_recommender(run)
    after = evaluate_run(config, dataset, recommender)
    for name, scorer in before["scorers"].items():
        assert after["scorers"][name]["metrics"] == pytest.approx(scorer["metrics"])


def test_finished_stages_are_not_trained_again(run, shop):
    truth = str(shop.parent / "truth")
    histories = {p: p.stat().st_mtime_ns for p in run.glob("*/history.json")}
    assert len(histories) == 2
    train(configure_shop(shop, run, "--evaluation.oracle_dir", truth))
    assert {p: p.stat().st_mtime_ns for p in histories} == histories


def test_same_seed_gives_the_same_run(run, shop, tmp_path):
    truth = str(shop.parent / "truth")
    train(configure_shop(shop, tmp_path / "run", "--evaluation.oracle_dir", truth))
    for stage in ("retrieval", "ranking"):
        first, again = (
            json.loads((path / stage / "history.json").read_text())
            for path in (run, tmp_path / "run")
        )
        assert first.keys() == again.keys()
        for name in first.keys() - {"seconds"}:
            values = first[name]
            assert again[name] == pytest.approx(values, rel=1e-4), (stage, name)


def test_fine_tuning_changes_the_models_once(shop, tmp_path):
    more = ("--training.finetune_epochs", "1", "--ranking", "null")
    config = configure_shop(shop, tmp_path / "run", *more, without_ranking=True)
    weights = tmp_path / "run" / "retrieval" / "best"
    train(config)
    history = json.loads((tmp_path / "run" / "retrieval" / "history.json").read_text())
    assert history["epoch"] == [1, 2]  # Nothing is chosen while fine-tuning.
    assert json.loads((tmp_path / "run" / "finetuned.json").read_text())["epochs"] == 1
    saved = {path: path.stat().st_mtime_ns for path in weights.iterdir()}
    train(config)
    assert {path: path.stat().st_mtime_ns for path in weights.iterdir()} == saved


def test_another_configuration_is_refused_by_the_folder_of_a_run(run, shop):
    config = configure_shop(shop, run, "--seed", "7")
    with pytest.raises(ValueError, match=r"another configuration: seed=1 \(wanted 7\)"):
        train(config)


def test_a_trained_run_may_be_reported_in_another_way(run, shop, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    weights = run / "retrieval" / "best"
    saved = {path: path.stat().st_mtime_ns for path in weights.iterdir()}
    again = ("--evaluation.k", "[3]", "--evaluation.baselines", "[pop]")
    result = train(configure_shop(shop, run, *again))
    assert result["k"] == [3]
    assert "markov" not in result["scorers"]
    assert {path: path.stat().st_mtime_ns for path in weights.iterdir()} == saved


def test_unfinished_run_says_how_to_go_on(tmp_path, shop):
    with pytest.raises(FileNotFoundError, match="No run in"):
        load_recommender(tmp_path)
    config = configure_shop(shop, tmp_path / "run")
    write_run_record(config)
    with pytest.raises(FileNotFoundError, match="not trained to its end"):
        load_recommender(tmp_path / "run")


@pytest.mark.slow
def test_killed_run_goes_on_behind_its_last_whole_epoch(tmp_path, shop):
    run_dir = tmp_path / "run"
    many = ("--training.retrieval.max_epochs", "12", "--ranking", "null")
    command = [sys.executable, "-m", "tfrec.train", "--config", str(shop)]
    command += [*FAST_RETRIEVAL, *many]
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
    config = configure_shop(
        shop,
        tmp_path / "run",
        *("--training.retrieval.optimizer.learning_rate", "1e38"),
        *("--training.retrieval.optimizer.gradient_clip_norm", "null"),
    )
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        train(config)
