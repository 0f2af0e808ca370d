"""`benchmarks.quality` on results written by hand; nothing is trained."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality
from benchmarks.quality_page import markdown
from benchmarks.quality_summary import summarise
from benchmarks.quality_tables import columns, difference_text, verdicts
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.config_file import save_config

METRICS = ("HR@10", "NDCG@10", "Recall@20", "NDCG@20")


def group(value: float, gap: tuple[float, float] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metrics": dict.fromkeys(METRICS, value),
        "intervals": dict.fromkeys(METRICS, [value - 0.01, value + 0.03]),
    }
    return (
        found if gap is None else {**found, "differences": dict.fromkeys(METRICS, gap)}
    )


def write_run(
    path: Path,
    config: ExperimentConfig,
    *,
    seed: int,
    ranking: float,
    gap: tuple[float, float],
    trained: Mapping[str, object] | None = None,
    **changes: object,
) -> Path:
    """A run whose baseline reaches 0.1; `gap`: interval of baseline - ranking."""
    path.mkdir(parents=True)
    scorers = {"ranking": group(ranking), "pop": group(0.1, gap)}
    scorers["oracle"] = group(0.4, (0.1, 0.2))
    metrics = {
        "protocol": "full",
        "ties": "against",
        "split": "test",
        "targets": "next",
        "exclude_seen": True,
        "k": [10, 20],
        "seed": seed,
        "num_bootstrap": 50,
        "confidence": 0.95,
        "num_queries": 1234,
        "num_items": 99,
        "reference": "ranking",
        "scorers": {n: {"groups": {"all": s, "novel": s}} for n, s in scorers.items()},
        **changes,
    }
    versions = {"git_commit": "abcdef1234567890", "git_dirty": False}
    versions |= {"num_cpus": "2", "platform": "Linux", "python": "3.11.7"}
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "timings.json").write_text(json.dumps({"retrieval": 60.0, "evaluate": 30}))
    (path / "retrieval").mkdir()
    history = {"training_events": 3000, "seconds": [20.0, 30.0]}
    trained = history if trained is None else trained
    (path / "retrieval" / "finished.json").write_text(json.dumps(trained))
    (path / "versions.json").write_text(json.dumps({**versions, "tensorflow": "2.21"}))
    changed = config.model_copy(update={"seed": seed, "run_dir": path})
    save_config(changed, path / "config.yaml")
    return path


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    return make_config(tmp_path, run_dir=None)


@pytest.fixture
def runs(tmp_path: Path, config: ExperimentConfig) -> list[Path]:
    """Three seeds; with the second, the interval of the difference holds 0."""
    gaps = [(-0.03, -0.01), (-0.04, 0.01), (-0.05, -0.03)]
    return [
        write_run(
            tmp_path / "work" / f"toy-seed{seed}",
            config,
            seed=seed,
            ranking=0.10 + 0.02 * seed,
            gap=gaps[seed],
        )
        for seed in range(3)
    ]


def test_seeds_are_joined_by_mean_deviation_and_paired_difference(runs):
    result = summarise(runs)
    found = result["scorers"]["ranking"]["all"]["NDCG@10"]
    # .10, .12 and .14: deviations -.02, 0, .02, squares sum to .0008, n - 1 = 2.
    assert found["mean"] == pytest.approx(0.12)
    assert found["sd"] == pytest.approx(0.02)
    difference = result["differences"]["pop"]["all"]["NDCG@10"]
    assert difference["mean"] == pytest.approx(0.02)
    # metrics.json has pop - ranking: sign and order of the limits turn round.
    assert difference["intervals"] == [[0.01, 0.03], [-0.01, 0.04], [0.03, 0.05]]
    assert result["seconds"] == [90.0] * 3
    assert result["seeds"] == [0, 1, 2]


def test_baseline_is_beaten_only_where_every_seed_says_so(runs):
    lines = verdicts(summarise(runs))
    assert (
        "NDCG@10: ranking beats 0 of 1 baselines with every seed; pop with 2 of 3"
        in (lines)
    )
    assert "NDCG@10: ranking 0.1200, best baseline pop 0.1000, +20.0%" in lines
    # The oracle is no baseline; of its .4 the model has .12.
    assert "NDCG@10, share of the oracle's: ranking 30%" in lines
    sure = verdicts(summarise(runs[:1]))
    assert "NDCG@10: ranking beats 1 of 1 baselines with every seed" in sure


def test_page_names_command_protocol_commit_and_limits_around_the_mean(runs):
    page = markdown({**summarise(runs), "command": "python -m benchmarks.quality"})
    assert "`python -m benchmarks.quality`" in page
    # Limits .09/.13, .11/.15 and .13/.17, averaged.
    assert "| ranking | 0.1200 ± 0.0200 [0.1100, 0.1500] |" in page
    assert "| pop | 0.1000 [0.0900, 0.1300] |" in page
    assert "| pop | +0.0200 [+0.0100, +0.0400] 2/3 |" in page
    # 3,000 events an epoch, two epochs in 50 seconds.
    assert "1.5, 1.5, 1.5 minutes a seed; retrieval learned 120, 120, 120" in page
    assert "Commit abcdef123456." in page  # Of the runs, not of this moment.
    for words in (
        "leave_one_out",
        "1,234 queries",
        "99 items",
        "history items removed",
    ):
        assert words in page


@pytest.mark.parametrize(("protocol", "days"), [("leave_one_out", 0), ("by_time", 2)])
def test_page_tells_days_of_a_cut_in_time_and_what_was_left_out(
    tmp_path, config, protocol, days
):
    split = config.data.split.model_copy(update={"protocol": protocol})
    data = config.data.model_copy(update={"split": split})
    run = write_run(
        tmp_path / protocol,
        config.model_copy(update={"data": data}),
        seed=0,
        ranking=0.2,
        gap=(-0.1, -0.05),
        skipped={"recent_pop": "the log has no timestamps"},
    )
    page = markdown({**summarise([run]), "command": "x"})
    assert page.count("_days ") == days
    assert "`recent_pop` is left out: the log has no timestamps." in page


@pytest.mark.parametrize(
    ("column", "reads", "words"),
    [
        ("timestamp", True, "models read the times of events and of the request"),
        ("timestamp", False, "retrieval reads no times, but the order of events"),
        (None, True, "the log has no times: models know its order alone"),
    ],
)
def test_page_says_which_times_the_models_read(tmp_path, config, column, reads, words):
    columns = config.data.event_columns.model_copy(update={"timestamp": column})
    data = config.data.model_copy(update={"event_columns": columns})
    retrieval = config.retrieval.model_copy(update={"use_event_times": reads})
    run = write_run(
        tmp_path / "run",
        config.model_copy(update={"data": data, "retrieval": retrieval}),
        seed=0,
        ranking=0.2,
        gap=(-0.1, -0.05),
    )
    assert f"Times: {words}." in markdown({**summarise([run]), "command": "x"})


def test_windows_show_recall_at_20_and_repeats_apart(tmp_path, config):
    run = write_run(
        tmp_path / "window",
        config,
        seed=0,
        ranking=0.2,
        gap=(-0.1, -0.05),
        targets="window",
        exclude_seen=False,
    )
    result = summarise([run])
    assert columns(result) == [
        (part, name) for part in ("all", "novel") for name in ("Recall@20", "NDCG@20")
    ]
    assert "novel Recall@20" in markdown({**result, "command": ""})


def test_uncommitted_changes_of_a_run_are_told(runs):
    path = runs[1] / "versions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "git_dirty": True}))
    page = markdown({**summarise(runs), "command": ""})
    assert "Commit abcdef123456, with uncommitted changes." in page


def test_seeds_that_were_not_evaluated_alike_are_refused(runs):
    path = runs[2] / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_queries": 7}))
    with pytest.raises(ValueError, match=r"toy-seed2.*num_queries.*differ"):
        summarise(runs)


def command(config: ExperimentConfig, tmp_path: Path, *more: str) -> list[str]:
    path = tmp_path / "toy.yaml"
    save_config(config, path)
    out = str(tmp_path / "results" / "toy.json")
    work = str(tmp_path / "work")
    return ["--config", str(path), "--out", out, "--work_dir", work, *more]


def test_finished_runs_are_read_and_missing_ones_trained(
    runs, config, tmp_path, monkeypatch
):
    (runs[2] / "timings.json").write_text('{"retrieval": 60.0}')  # Broken off.
    called: list[list[str]] = []

    def train(argv: list[str], *, check: bool) -> None:
        assert check
        called.append(argv)
        (runs[2] / "timings.json").write_text('{"retrieval": 60.0, "evaluate": 9.0}')

    monkeypatch.setattr(subprocess, "run", train)
    arguments = command(config, tmp_path, "--retrieval.dropout", "0.0")
    assert quality.main(arguments) == 0
    (argv,) = called
    assert argv[1:3] == ["-m", "tfrec.train"]
    options = argv[argv.index("--retrieval.dropout") :]
    assert options[:2] == ["--retrieval.dropout", "0.0"]
    assert options[options.index("--seed") + 1] == "2"
    assert options[options.index("--run_dir") + 1] == str(runs[2])
    result = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert result["seconds"] == [90.0, 90.0, 69.0]
    assert "--retrieval.dropout 0.0" in result["command"]
    assert (tmp_path / "results" / "toy.md").read_text().startswith("# toy")
    assert not list((tmp_path / "results").glob("*.part"))


def test_dataset_names_the_configuration_of_that_name(
    runs, config, tmp_path, monkeypatch
):
    """Below `configs/` of the working folder; files given after it win."""
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    save_config(config, Path("configs/shop.yaml"))
    Path("more.yaml").write_text("retrieval: {dropout: 0.25}")
    called: list[list[str]] = []

    def train(argv: list[str], *, check: bool) -> None:
        called.append(argv)
        raise subprocess.CalledProcessError(3, argv)

    monkeypatch.setattr(subprocess, "run", train)
    options = ["--dataset", "shop", "--config", "more.yaml", "--out", "out.json"]
    assert quality.main([*options, "--work_dir", "other"]) == 1
    (argv,) = called
    files = [argv[i + 1] for i, part in enumerate(argv) if part == "--config"]
    assert files == [str(Path("configs", "shop.yaml")), "more.yaml"]


def test_unknown_dataset_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        quality.main(["--dataset", "shoes", "--out", "out.json"])
    assert "shoes.yaml" in capsys.readouterr().err


def test_run_of_another_configuration_is_refused(runs, config, tmp_path, capsys):
    arguments = command(config, tmp_path, "--retrieval.dropout", "0.5")
    assert quality.main(arguments) == 1
    error = capsys.readouterr().err
    assert "retrieval.dropout=0.0 (wanted 0.5)" in error
    assert "toy-seed0" in error
    assert not (tmp_path / "results").exists()


def test_failed_training_ends_the_benchmark(config, tmp_path, monkeypatch, capsys):
    def fail(argv: list[str], *, check: bool) -> None:
        raise subprocess.CalledProcessError(3, argv)

    monkeypatch.setattr(subprocess, "run", fail)
    assert quality.main(command(config, tmp_path)) == 1
    assert "exit status 3" in capsys.readouterr().err


LEAKAGE = {
    "num_positives": 1234,
    "num_users": 1234,
    "cut": 50,
    "younger_items": 0.01,
    "unknown_items": 0.0,
    "users_on_both_sides": 1.0,
}


def test_both_splits_are_trained_apart_and_stand_on_one_page(
    config, tmp_path, monkeypatch
):
    ranking = {"leave_one_out": (0.2, 0.9), "by_time": (0.05, 0.0)}

    def train(argv: list[str], *, check: bool) -> None:
        def last(name: str) -> str:
            return argv[len(argv) - 1 - argv[::-1].index(name) + 1]

        protocol = last("--data.split.protocol")
        run = Path(last("--run_dir"))
        assert run.parent == tmp_path / "work" / protocol
        assert Path(last("--data.prepared_dir")).parent == run.parent
        data = config.data.model_copy(
            update={
                "split": config.data.split.model_copy(update={"protocol": protocol})
            }
        )
        value, leaked = ranking[protocol]
        write_run(
            run,
            config.model_copy(update={"data": data}),
            seed=int(last("--seed")),
            ranking=value,
            gap=(-0.03, -0.01),
            leakage={**LEAKAGE, "before_cut": leaked},
        )

    monkeypatch.setattr(subprocess, "run", train)
    shared = config.data.model_copy(update={"prepared_dir": None})
    splits = ["--split", "leave_one_out", "--split", "by_time", "--seeds", "1"]
    plain = config.model_copy(update={"data": shared})
    assert quality.main(command(plain, tmp_path, *splits)) == 0
    result = json.loads((tmp_path / "results" / "toy.json").read_text())
    assert list(result["splits"]) == ["leave_one_out", "by_time"]
    assert result["splits"]["by_time"]["leakage"]["before_cut"] == 0.0
    page = (tmp_path / "results" / "toy.md").read_text()
    # The oracle has .4 and `pop` .1: by time the model falls behind `pop`.
    assert "| ranking | 0.2000 | 2 | 0.0500 | 3 |" in page
    assert "| pop | 0.1000 | 3 | 0.1000 | 2 |" in page
    first, second = page.split("## by_time")
    assert "90.0% of the test targets are earlier" in first
    assert "No test target is earlier" in second
    assert "--split leave_one_out --split by_time" in page


def test_split_that_the_log_cannot_have_is_refused_before_any_training(
    config, tmp_path, monkeypatch, capsys
):
    columns_without = config.data.event_columns.model_copy(update={"timestamp": None})
    data = config.data.model_copy(
        update={"prepared_dir": None, "event_columns": columns_without}
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("trained"))
    splits = ["--split", "leave_one_out", "--split", "by_time"]
    untimed = config.model_copy(update={"data": data})
    with pytest.raises(SystemExit):
        quality.main(command(untimed, tmp_path, *splits))
    assert "needs `event_columns.timestamp`" in capsys.readouterr().err


def test_one_prepared_folder_cannot_hold_two_splits(config, tmp_path, capsys):
    assert quality.main(command(config, tmp_path, "--split", "by_time")) == 1
    assert "`data.prepared_dir` holds one split" in capsys.readouterr().err


def test_leakage_of_runs_is_on_the_page_where_it_was_measured(tmp_path, config):
    leakage = {**LEAKAGE, "before_cut": None, "younger_items": None}
    more = {"seed": 0, "ranking": 0.2, "gap": (-0.1, -0.05)}
    run = write_run(tmp_path / "new", config, leakage=leakage, **more)
    page = markdown({**summarise([run]), "command": ""})
    assert "Leakage. The log has no times" in page
    old = write_run(tmp_path / "old", config, **more)
    assert "Leakage" not in markdown({**summarise([old]), "command": ""})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "by_time", "--split", "by_time"], "--split must name each once"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--out", "toy.md"], "--out must end in .json"),
        (["--seed", "4"], "--seed is set for each run"),
        (["--retrieval.dropuot", "1"], "Did you mean `retrieval.dropout`"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_options_are_explained(more, message, config, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        quality.main(command(config, tmp_path, *more))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_searches_have_a_table_of_their_own(tmp_path, config):
    runs = []
    for seed, value in enumerate((0.5, 0.7)):
        scorers = {"ranking": group(value), "bm25": group(0.4, (-0.2, -0.1))}
        # Nobody knows if the first seed gained by the history; both gain by the order.
        unsure = (-0.2, 0.1 - 0.2 * seed)
        scorers["ranking, without history"] = group(value - 0.1, unsure)
        scorers["ranking, order search"] = group(value + 0.1, (0.05, 0.15))
        search = {
            "reference": "ranking",
            "num_queries": 77,
            "scorers": {n: {"groups": {"all": s}} for n, s in scorers.items()},
        }
        path = tmp_path / f"run{seed}"
        options = {"seed": seed, "ranking": 0.3, "gap": (-0.3, -0.1), "search": search}
        runs.append(write_run(path, config, **options))
    result = {**summarise(runs), "command": "it"}
    assert result["search"]["scorers"]["ranking"]["all"]["NDCG@10"]["mean"] == (
        pytest.approx(0.6)
    )
    page = markdown(result)
    assert "Searches: 77 targets" in page
    # .6 - .4 over both seeds, and both intervals lie above 0.
    assert "| bm25 | +0.2000 [+0.1000, +0.2000] 2/2 |" in page.split("Searches:")[1]
    # .4 and .6: a model asked otherwise is a model, and its seeds differ.
    assert "| ranking, without history | 0.5000 ± 0.1414 [" in page
    assert "| bm25 | 0.4000 [" in page
    for line in (
        "ranking beats bm25 with every seed: yes, in 2 of 2 columns",
        "ranking with history beats ranking, without history with every seed: no, in "
        "0 of 2 columns; HR@10 with 1 of 2, NDCG@10 with 1 of 2",
        "ranking, order search beats ranking by the default order with every seed: "
        "yes, in 2 of 2 columns",
    ):
        assert f"- Searches, {line}\n" in page


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(-0.1, 0.2), (-0.2, 0.1)], "0/2"),
        ([(0.1, 0.2), (-0.2, 0.1)], "1/2"),
        ([(-0.2, -0.1), (-0.2, 0.1)], "0/2, 1 below"),
        ([(0.1, 0.2), (-0.2, -0.1)], "1/2, 1 below"),
    ],
)
def test_a_difference_tells_level_from_worse(
    intervals: list[tuple[float, float]], expected: str
) -> None:
    text = difference_text({"mean": 0.0, "intervals": intervals})
    assert text.split("] ")[1] == expected


def heads_of(**errors: float | None) -> dict[str, Any]:
    """`heads` of a run; the interval of ECE is .001 to both sides."""
    heads: dict[str, Any] = {}
    for name, error in errors.items():
        heads[name] = {"population": "shown", "calibrator": "platt"}
        if error is not None:
            metrics = {"AUC": 0.75, "ECE": error, "ECE_noise": 0.0005, "ratio": 1.5}
            intervals = {"ECE": [error - 0.001, error + 0.001]}
            heads[name] |= {"metrics": metrics, "intervals": intervals}
            heads[name] |= {"num_events": 40, "num_candidates": 2000}
    shared = {"split": "test", "num_bins": 20, "num_retrieved": 100}
    shared |= {"confidence": 0.95, "num_bootstrap": 50}
    return {"heads": {**shared, "heads": heads}}


def with_heads(
    tmp_path: Path, config: ExperimentConfig, *seeds: dict[str, Any]
) -> dict[str, Any]:
    options: dict[str, Any] = {"ranking": 0.3, "gap": (-0.3, -0.1)}
    runs = [
        write_run(tmp_path / f"run{seed}", config, seed=seed, **options, **heads)
        for seed, heads in enumerate(seeds)
    ]
    return {**summarise(runs), "command": "it"}


def test_heads_have_a_table_with_spread_and_interval(tmp_path, config):
    seeds = [heads_of(view=0.002, cart=None), heads_of(view=0.004, cart=None)]
    result = with_heads(tmp_path, config, *seeds)
    page = markdown(result).split("Heads. On test")[1]
    # .002 and .004: mean .003, deviation .001 * sqrt(2); limits .001/.003, .003/.005.
    assert "| 0.00300 ± 0.00141 [0.00200, 0.00400] |" in page
    assert "| view | shown, platt | 40 in 2,000 | 0.7500 ± 0.0000 | – |" in page
    assert "| cart | shown, platt | none | – |" in page
    assert "ECE to truth" not in page  # Of simulated shops alone.


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([{"view": 0.002, "cart": 0.003}, {"view": 0.0099, "cart": 0.003}], "met;"),
        ([{"view": 0.002, "cart": 0.003}, {"view": 0.01, "cart": 0.003}], "missed by "),
        ([{"view": 0.002, "cart": None}], "not decided, no figure of cart"),
        ([{"view": 0.02, "cart": None}], "missed by view"),
    ],
)
def test_calibration_is_good_where_every_head_of_every_seed_is(
    seeds, verdict, tmp_path, config
):
    result = with_heads(tmp_path, config, *(heads_of(**seed) for seed in seeds))
    assert f"every head, goal under 0.01: {verdict}" in markdown(result)


def test_runs_without_heads_have_no_table_of_them(runs):
    page = markdown({**summarise(runs), "command": "it"})
    assert "Heads" not in page
    assert "Calibration" not in page
