"""`benchmarks.cold_items`: what is hidden from training, and what is asked."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cold_items
from benchmarks.cold_protocol import (
    History,
    TextNeighbours,
    build_cold_queries,
    choose_cold,
    read_histories,
    training_lines,
    write_if_changed,
)
from benchmarks.cold_tables import markdown, summarise, verdicts
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.config_file import save_config
from tfrec.data.store import TEST
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import Schema

SCHEMA = Schema(
    event_types=("review",),
    target_event_types=("review",),
    item_attributes=(),
    context=(),
    has_timestamps=False,
)
HISTORIES = [
    History("anna", ("a", "cold", "b", "c")),
    History("ben", ("a", "b", "cold")),
    History("cleo", ("a", "cold")),
    History("dan", ("cold",)),
]


def test_cold_items_are_those_whose_hash_sorts_last():
    histories = [History("u", tuple(map(str, range(1, 41))))]
    by_hash = {
        hashlib.sha256(str(i).encode()).hexdigest(): str(i) for i in range(1, 41)
    }
    last = sorted(by_hash)[-2:]  # 5 % of 40.
    assert choose_cold(histories, share=0.05) == {by_hash[h] for h in last}


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_share_that_leaves_nothing_cold_or_warm_is_refused(share):
    with pytest.raises(ValueError, match="both cold and warm"):
        choose_cold(HISTORIES, share=share)


def test_training_sees_cold_items_only_as_last_events_of_long_histories():
    # Cleo has one event beside the cold one: leave-one-out would train on both.
    assert training_lines(HISTORIES, {"cold"}) == (
        "anna a b c",
        "ben a b cold",
        "cleo a",
    )


def test_files_are_read_with_and_without_compression(tmp_path):
    import gzip

    (tmp_path / "one.txt").write_text("u 1 2\n\nv 3\n")
    with gzip.open(tmp_path / "two.txt.gz", "wt") as stream:
        stream.write("w 4\n")
    paths = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt.gz")]
    assert read_histories(paths) == [
        History("u", ("1", "2")),
        History("v", ("3",)),
        History("w", ("4",)),
    ]


def test_file_of_the_same_lines_is_left_alone(tmp_path):
    path = tmp_path / "sub" / "lines.txt"
    write_if_changed(path, ["u 1"])
    first = path.stat()
    write_if_changed(path, ["u 1"])
    assert path.stat().st_ino == first.st_ino
    write_if_changed(path, ["u 2"])
    assert path.read_text() == "u 2\n"
    assert [p.name for p in path.parent.iterdir()] == ["lines.txt"]


@pytest.mark.parametrize("keep", [True, False])
def test_every_last_event_is_asked_with_what_came_before(keep):
    vocabulary = Vocabulary(["a", "b", "c", "cold"])  # Indices 2, 3, 4, 5.
    queries = build_cold_queries(
        HISTORIES, {"cold"}, vocabulary, SCHEMA, keep_cold_history=keep
    )
    sequences = queries.sequences

    def asked(part: Any, row: int) -> tuple[list[int], int]:
        user = part.user_rows[row]
        start, end = sequences.offsets[user], part.history_ends[row]
        history = sequences.item_index[start:end].tolist()
        return history, int(part.positive_items[row])

    assert [asked(queries.cold, row) for row in range(3)] == [
        ([2, 3], 5),
        ([2], 5),
        ([], 5),
    ]
    assert asked(queries.warm, 0) == ([2, 5, 3] if keep else [2, 3], 4)
    assert queries.warm.num_queries == 1
    assert (sequences.split == TEST).sum() == len(HISTORIES)


def test_catalogue_without_the_cold_items_is_refused():
    with pytest.raises(ValueError, match=r"3 users whose last item.*data\.items"):
        build_cold_queries(
            HISTORIES,
            {"cold"},
            Vocabulary(["a", "b", "c"]),
            SCHEMA,
            keep_cold_history=True,
        )


def test_text_neighbours_follow_the_newest_texts():
    vocabulary = Vocabulary(["a", "b", "c", "cold"])
    queries = build_cold_queries(
        [History("u", ("a", "b", "c"))], {"cold"}, vocabulary, SCHEMA,
        keep_cold_history=True,
    )  # fmt: skip
    # b's text is next to the cold item's, a's to c's; b is newer. No text: zeros.
    text = np.array([[1, 0, 0], [0, 1, 0], [1, 0.1, 0], [0.1, 1, 0]], np.float32)
    scores = TextNeighbours(text).score(queries.sequences, queries.warm, np.array([0]))
    assert scores.shape == (1, 4)
    assert scores[0, 3] > scores[0, 2]
    blind = TextNeighbours(np.where([[1], [1], [1], [0]], text, 0.0))
    assert blind.score(queries.sequences, queries.warm, np.array([0]))[0, 3] == 0.0


def seed_result(seed: int, *, cold: float, ratio: float | None) -> dict[str, Any]:
    def figure(value: float) -> dict[str, Any]:
        return {"mean": value, "interval": [value - 0.01, value + 0.03]}

    def figures(value: float) -> dict[str, Any]:
        return {"HR@10": figure(value), "NDCG@10": figure(value / 2)}

    result: dict[str, Any] = {
        "seed": seed,
        "confidence": 0.95,
        "num_bootstrap": 50,
        "exclude_seen": True,
        "keep_cold_history": True,
        "num_items": 4321,
        "num_queries": {"cold": 12, "warm": 345},
        "models": ["ranking"],
        "groups": {
            "cold": {"ranking": figures(cold), "tfidf": figures(0.05)},
            "warm": {"ranking": figures(0.2)},
        },
        "versions": {
            "git_commit": "abcdef1234567890",
            "git_dirty": False,
            "num_cpus": "2",
            "platform": "Linux",
            "python": "3.11.7",
            "tensorflow": "2.21",
        },
    }
    if ratio is not None:
        result["ratios"] = {"ranking": figure(ratio)}
    return result


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    (tmp_path / "log.txt").write_text("u 1 2 3\nv 3 4 1\nw 2 1\n")
    (tmp_path / "items.csv").write_text("item_id,title\n1,x\n2,y\n3,z\n4,x\n")
    data = {
        "events": {"paths": [str(tmp_path / "log.txt")], "format": "sequences"},
        "items": {"paths": [str(tmp_path / "items.csv")]},
        "event_columns": {},
        "prepared_dir": None,
    }
    return make_config(tmp_path, run_dir=None, data=data)


def test_page_says_figures_goals_and_protocol(config):
    seeds = [
        seed_result(0, cold=0.11, ratio=0.97),
        seed_result(1, cold=0.13, ratio=0.99),
    ]
    result = {**summarise(config, seeds, share=0.05, num_cold=7), "command": "python"}
    page = markdown(result)
    # Means of .11 and .13, and of the limits .10/.12 and .14/.16; deviation .0141.
    assert "| ranking | 0.1200 ± 0.0141 [0.1100, 0.1500] |" in page
    assert "| ranking | 0.9800 ± 0.0141 [0.9700, 1.0100] |" in page
    assert [is_met for _, is_met in verdicts(result)] == [True, True]
    for words in ("12 cold, 345 warm", "4,321 items", "Cold are 7 items", "abcdef"):
        assert words in page


def test_without_full_runs_the_warm_goal_is_not_measured_and_not_met(config):
    seeds = [seed_result(0, cold=0.2, ratio=None)]
    result = {**summarise(config, seeds, share=0.05, num_cold=7), "command": "python"}
    (cold, is_cold_met), (warm, is_warm_met) = verdicts(result)
    assert "Cold HR@10: ranking 0.2000" in cold
    assert (is_cold_met, is_warm_met) == (True, False)
    assert warm.startswith("Warm NDCG@10, ranking: goal at least 0.98")
    page = markdown(result)
    assert f"- {warm}\n" in page
    assert warm.endswith("of the full run's, not measured (give --full_run)")
    assert "NDCG@10 / full run's" not in page  # No table of ratios.


def test_missed_goals_are_said_and_end_with_one(config, tmp_path, monkeypatch):
    seeds = [seed_result(0, cold=0.114, ratio=0.979)]
    result = summarise(config, seeds, share=0.05, num_cold=7)
    assert [is_met for _, is_met in verdicts(result)] == [False, False]
    monkeypatch.setattr(cold_items, "finished_run", lambda *_, **__: tmp_path)
    monkeypatch.setattr(cold_items, "measure_seed", lambda *_, **__: seeds[0])
    argv = command(config, tmp_path, "--seeds", "1", "--share", "0.25")
    assert cold_items.main(argv) == 0
    assert cold_items.main([*argv, "--check"]) == 1
    written = json.loads((tmp_path / "results" / "cold.json").read_text())
    assert written["groups"]["cold"]["ranking"]["HR@10"]["mean"] == 0.114


def command(config: ExperimentConfig, tmp_path: Path, *more: str) -> list[str]:
    path = tmp_path / "toy.yaml"
    save_config(config, path)
    out = str(tmp_path / "results" / "cold.json")
    work = str(tmp_path / "work")
    return ["--config", str(path), "--out", out, "--work_dir", work, *more]


def test_run_is_trained_on_the_filtered_file_under_its_own_name(
    config, tmp_path, monkeypatch, capsys
):
    called: list[list[str]] = []

    def fail(argv: list[str], *, check: bool) -> None:
        called.append(argv)
        raise subprocess.CalledProcessError(3, argv)

    monkeypatch.setattr(subprocess, "run", fail)
    argv = command(config, tmp_path, "--share", "0.25", "--retrieval.dropout", "0.5")
    assert cold_items.main(argv) == 1
    assert "exit status 3" in capsys.readouterr().err
    (options,) = called
    lines = tmp_path / "work" / "toy_cold-sequences.txt"
    assert options[options.index("--data.events.paths") + 1] == f'["{lines}"]'
    assert options[options.index("--retrieval.dropout") + 1] == "0.5"
    assert str(tmp_path / "work" / "toy_cold-seed0") in options
    histories = read_histories([str(tmp_path / "log.txt")])
    cold = choose_cold(histories, share=0.25)
    assert tuple(lines.read_text().splitlines()) == training_lines(histories, cold)


def test_full_runs_must_fit_the_seeds_and_the_configuration(config, tmp_path, capsys):
    run = tmp_path / "full"
    run.mkdir()
    argv = command(config, tmp_path, "--full_run", str(run))
    assert cold_items.main(argv) == 1
    assert "config.yaml is missing" in capsys.readouterr().err
    save_config(config, run / "config.yaml")
    assert cold_items.main(argv) == 1
    assert "expected [0, 1, 2]" in capsys.readouterr().err
    assert cold_items.main([*argv, "--retrieval.dropout", "0.5"]) == 1
    assert "retrieval.dropout=0.0 (wanted 0.5)" in capsys.readouterr().err
    # What the new items are given is not trained.
    assert cold_items.main([*argv, "--retrieval.new_item_budget", "0.03"]) == 1
    assert "expected [0, 1, 2]" in capsys.readouterr().err


def test_log_that_is_no_sequences_file_is_refused(config, tmp_path, capsys):
    argv = command(config, tmp_path, "--data.events.format", "csv")
    assert cold_items.main(argv) == 1
    assert "data.events.format='csv' (wanted 'sequences')" in capsys.readouterr().err


@pytest.mark.slow
def test_command_measures_a_small_shop_from_training_to_the_page(tmp_path):
    from tfrec.training.run import train

    random = np.random.default_rng(0)
    pools = [[str(i) for i in range(first, 41, 2)] for first in (1, 2)]
    lines = [
        f"u{u} {' '.join(random.choice(pools[u % 2], 6, replace=False))}"
        for u in range(60)
    ]
    (tmp_path / "log.txt").write_text("\n".join(lines) + "\n")
    rows = [f"{i},item,{'odd' if i % 2 else 'even'}" for i in range(1, 41)]
    (tmp_path / "items.csv").write_text("item_id,title,kind\n" + "\n".join(rows))
    config = make_config(
        tmp_path,
        run_dir=None,
        data={
            "events": {"paths": [str(tmp_path / "log.txt")], "format": "sequences"},
            "items": {"paths": [str(tmp_path / "items.csv")]},
            "item_attributes": [{"name": "kind"}],
            "event_columns": {},
            "prepared_dir": None,
        },
        retrieval={"id_dropout": 0.2},
        evaluation={
            "exclude_seen": True,
            "num_bootstrap": 50,
            "selection_metric": "NDCG@10",
        },
        ranking=None,
        training={"retrieval": {"max_epochs": 2}},
    )
    full = config.model_copy(update={"run_dir": tmp_path / "full"})
    train(full)
    argv = command(config, tmp_path, "--seeds", "1", "--share", "0.2")
    assert cold_items.main([*argv, "--full_run", str(tmp_path / "full")]) == 0
    result = json.loads((tmp_path / "results" / "cold.json").read_text())
    asked = result["protocol"]["num_queries"]
    assert asked["cold"] + asked["warm"] == 60
    assert asked["cold"] > 0
    assert set(result["groups"]["warm"]) == {
        "retrieval",
        "tfidf",
        "full run, retrieval",
    }
    warm = result["groups"]["warm"]
    ratio = (
        warm["retrieval"]["NDCG@10"]["mean"]
        / warm["full run, retrieval"]["NDCG@10"]["mean"]
    )
    assert result["ratios"]["retrieval"]["mean"] == pytest.approx(ratio, abs=1e-3)
