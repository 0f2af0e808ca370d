"""`benchmarks.ablations` on results written by hand; nothing is trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import ablations
from benchmarks.ablation_tables import markdown, table_rows
from tfrec.config_file import load_config
from tfrec.data.simulator import simulate, sized_config

ROWS: dict[str, Any] = {
    "name": "shop",
    "title": "What helps.",
    "config": [],
    "metrics": ["NDCG@10"],
    "rows": {"plain": {}, "two layers": {"retrieval": {"num_layers": 2}}},
}


def write_run(work_dir: Path, name: str, seed: int, values: list[float]) -> None:
    path = work_dir / f"shop-{name}-seed{seed}"
    path.mkdir(parents=True)
    arrays: dict[str, Any] = {"retrieval/all/NDCG@10": np.array(values, np.float32)}
    np.savez(path / "values.npz", **arrays)
    (path / "metrics.json").write_text(json.dumps({"reference": "retrieval"}))
    (path / "timings.json").write_text(json.dumps({"retrieval": 60, "evaluate": 30}))
    versions = {"git_commit": "abcdef1234567890", "git_dirty": False, "num_cpus": 2}
    versions |= {"platform": "Linux", "python": "3.11", "tensorflow": "2.21"}
    (path / "versions.json").write_text(json.dumps(versions))


def test_rows_are_compared_on_the_seeds_that_both_have(tmp_path):
    write_run(tmp_path, "plain", 0, [0.1, 0.3])
    write_run(tmp_path, "plain", 1, [0.9, 0.9])
    write_run(tmp_path, "two_layers", 0, [0.3, 0.5])
    rows = ablations.RowsConfig.model_validate(ROWS)
    result = ablations.summarise(rows, work_dir=tmp_path)
    plain, deep = result["rows"].values()
    assert plain["values"]["NDCG@10"]["mean"] == pytest.approx(0.55)
    # .2 and .9: a standard deviation of .7 / sqrt(2).
    assert plain["values"]["NDCG@10"]["sd"] == pytest.approx(0.7 / 2**0.5, abs=1e-5)
    gap = deep["differences"]["NDCG@10"]
    # Seed 0 alone: +.2 for either user, so that no resample differs.
    assert gap["mean"] == pytest.approx(0.2)
    assert gap["interval"] == pytest.approx([0.2, 0.2])
    assert gap["share"] == pytest.approx(1.0)
    assert gap["num_seeds"] == 1


def test_a_row_without_a_finished_run_is_left_out(tmp_path):
    write_run(tmp_path, "plain", 0, [0.1, 0.3])
    rows = ablations.RowsConfig.model_validate(ROWS)
    result = {**ablations.summarise(rows, work_dir=tmp_path), "command": "it"}
    assert [row[0] for row in table_rows(result)[1]] == ["plain"]
    assert "| plain | 1 | 0.2000 | – |" in markdown(result)


def test_a_reference_without_a_run_is_asked_for(tmp_path):
    write_run(tmp_path, "two_layers", 0, [0.3, 0.5])
    rows = ablations.RowsConfig.model_validate(ROWS)
    with pytest.raises(ValueError, match="reference row 'plain' has no finished run"):
        ablations.summarise(rows, work_dir=tmp_path)


def test_unknown_rows_and_files_that_are_none_are_named(tmp_path, capsys):
    file = tmp_path / "rows.yaml"
    command = ["--rows", str(file), "--out", str(tmp_path / "x.json")]
    file.write_text(yaml.safe_dump(ROWS))
    assert ablations.main([*command, "--only", "deep"]) == 1
    assert "['deep'], expected some of ['plain', 'two layers']" in (
        capsys.readouterr().err
    )
    file.write_text("title: of nothing")
    assert ablations.main(command) == 1
    assert "is no file of rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file", sorted(Path("benchmarks/rows").glob("*.yaml")), ids=lambda file: file.stem
)
def test_the_shipped_rows_fit_their_configuration(file, tmp_path):
    rows = ablations.read_rows(file)
    configs = list(rows.config)
    if configs[0].is_relative_to("runs"):  # The demo's shop; any will do.
        shop = simulate(sized_config("tiny", seed=1), tmp_path / "shop")
        configs[0] = shop.config_path
    rows = rows.model_copy(update={"config": configs})
    found = set()
    for name in rows.rows:
        argv = ablations.row_arguments(rows, name, work_dir=tmp_path)
        config = load_config(argv, description="")
        found.add(config.model_dump_json(exclude={"name"}))
    assert len(found) == len(rows.rows), "Two rows are the same configuration."
