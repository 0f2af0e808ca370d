"""`benchmarks.ranking` on a tiny shop: measured once, then read or refused."""

import json
from pathlib import Path

import pytest

from benchmarks import ranking
from tfrec.data.simulator import simulate, sized_config

FAST = [
    *("--seeds", "1", "--rows", "gated+mmoe", "--rivals", "logistic"),
    *("--retrieval.embedding_dim", "8", "--retrieval.feedforward_dim", "8"),
    *("--retrieval.max_history_length", "8", "--ranking.num_candidates", "20"),
    *("--training.retrieval.max_epochs", "1", "--training.ranking.max_epochs", "1"),
    *("--training.ranking.min_steps_per_epoch", "2", "--ranking.hidden_dims", "[4]"),
    *("--training.finetune_epochs", "1", "--evaluation.num_bootstrap", "20"),
]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("ranking")
    summary = simulate(sized_config("tiny", seed=1, num_users=80), path / "shop")
    return [
        *("--config", str(summary.config_path), "--out", str(path / "out" / "t.json")),
        *("--work_dir", str(path / "work"), *FAST),
        *("--evaluation.oracle_dir", str(summary.truth_path)),
    ]


@pytest.fixture(scope="module")
def measured(arguments: list[str]) -> Path:
    assert ranking.main(arguments) == 0
    return Path(arguments[arguments.index("--out") + 1])


@pytest.mark.slow
def test_rows_rivals_and_references_share_queries_and_candidates(
    measured: Path,
) -> None:
    result = json.loads(measured.read_text())
    names = ["default", "gated+mmoe", "retrieval", "oracle", "logistic"]
    assert list(result["scorers"]) == names
    assert list(result["differences"]) == ["retrieval", "logistic", "default"]
    assert result["rows"]["gated+mmoe"]["changes"] == {
        "fusion": "gated",
        "task_layers": "mmoe",
    }
    scores = {n: s["all"]["NDCG@10"]["mean"] for n, s in result["scorers"].items()}
    assert 0 < scores["retrieval"] < scores["oracle"] < 1
    gap = result["differences"]["retrieval"]["default"]["all"]["NDCG@10"]["mean"]
    assert gap == pytest.approx(scores["default"] - scores["retrieval"], abs=1e-5)
    page = measured.with_suffix(".md").read_text()
    assert page.startswith("# Ranking: tiny\n\n`python -m benchmarks.ranking --config")
    assert "| gated+mmoe | fusion=gated, task_layers=mmoe |" in page


@pytest.mark.slow
def test_finished_rows_are_read_and_not_trained_again(
    measured: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import ranking_measure

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("Trained again.")

    before = json.loads(measured.read_text())
    monkeypatch.setattr(ranking_measure, "train_ranking", fail)
    monkeypatch.setattr(ranking_measure, "fit_rival", fail)
    assert ranking.main(arguments) == 0
    assert json.loads(measured.read_text()) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--retrieval.dropout", "0.1"], "retrieval.dropout=0.3 (wanted 0.1)"),
        (["--ranking.attention_dim", "8"], "ranking.attention_dim=32 (wanted 8)"),
        (["--training.finetune_epochs", "2"], "finetune_epochs=1 (wanted 2)"),
    ],
)
def test_rows_of_another_configuration_are_refused(
    change: list[str],
    message: str,
    measured: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = measured.read_text()
    assert ranking.main([*arguments, *change]) == 1
    assert message in capsys.readouterr().err
    assert measured.read_text() == before


def test_rows_are_named_on_request(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    start = arguments.index("--rows")
    plain = [*arguments[:start], *arguments[start + 2 :], "--list"]
    assert ranking.main(plain) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "default (default)"
    assert "gated (fusion)" in lines
    assert "gated+mmoe (combination)" in lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--out", "toy.md"], "--out must end in .json"),
        (["--seed", "4"], "--seed is set for each run"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_options_are_explained(
    more: list[str],
    message: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        ranking.main([*arguments, *more])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_row_is_an_error_before_anything_is_trained(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ranking.main([*arguments, "--rows", "crass"]) == 1
    assert "Received: ['crass']" in capsys.readouterr().err
