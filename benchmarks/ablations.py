"""Trains rows that differ in a switch or two, and compares them user by user.

    python -m benchmarks.ablations --rows benchmarks/rows/beauty_text.yaml \
        --out docs/results/beauty_text.json [--seeds 3] [--only NAME ...]

The file of rows names the configurations that all rows share, and what each row
changes in them. Every row and seed is a run of its own, resumed as
`benchmarks.quality` does. Rows are compared with the first one on the same users;
the interval is a bootstrap over users of the mean over the seeds that both have.
With `--only`, or broken off, the page shows the rows whose runs are there.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field, ValidationError
from rich.console import Console

from benchmarks.ablation_tables import markdown, print_tables
from benchmarks.quality import command_line, finished_run, is_finished, write_result
from benchmarks.quality_summary import describe_machine
from tfrec.config_file import load_config
from tfrec.data_config import FrozenConfig
from tfrec.evaluation.intervals import mean_interval
from tfrec.run_record import VERSIONS_FILE
from tfrec.training.evaluation import VALUES_FILE

_PROGRAM = "python -m benchmarks.ablations"
_NUM_BOOTSTRAP = 1000


class RowsConfig(FrozenConfig):
    """The file of rows."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Of the page.")
    title: str = Field(description="What the rows differ in.")
    config: list[Path] = Field(description="Files that all rows share, in order.")
    metrics: list[str] = Field(description="Columns, such as NDCG@10.")
    common: dict[str, Any] = Field({}, description="Fields that all rows change.")
    rows: dict[str, dict[str, Any]] = Field(
        description="Per row, what it changes; the first is the reference."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    console = Console()
    try:
        rows = read_rows(options.rows)
        wanted = options.only or list(rows.rows)
        unknown = sorted(set(wanted) - set(rows.rows))
        if unknown:
            raise ValueError(
                f"`--only` must name rows of '{options.rows}'. Received: {unknown}, "
                f"expected some of {list(rows.rows)}."
            )
        # Seed by seed, so that all rows are there soon, with few seeds.
        for seed in range(options.seeds):
            for name in wanted:
                console.rule(f"{name}, seed {seed} of {options.seeds}")
                _run(rows, name, seed=seed, work_dir=options.work_dir)
        result = summarise(rows, work_dir=options.work_dir)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    own = ["--rows", str(options.rows), "--out", str(options.out)]
    own += ["--seeds", str(options.seeds)]
    result["command"] = command_line(_PROGRAM, own)
    write_result(options.out, result, page=markdown(result))
    print_tables(result, console)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    return 0


def summarise(rows: RowsConfig, *, work_dir: Path) -> dict[str, Any]:
    """Joins the finished runs of all rows.

    Returns:
        `rows`: per row its changes, seeds, parameters, minutes, per metric mean and
        standard deviation over seeds, and `differences` to the reference: mean,
        interval, and the share of the reference's mean.

    Raises:
        ValueError: If no run of the reference is there.
    """
    runs = {name: _finished(rows, name, work_dir) for name in rows.rows}
    reference = next(iter(rows.rows))
    if not runs[reference]:
        raise ValueError(
            f"The reference row '{reference}' has no finished run in '{work_dir}'. "
            "Run it first: others are compared with it."
        )
    values = {
        name: {seed: _values(run, rows.metrics) for seed, run in found.items()}
        for name, found in runs.items()
    }
    versions = [
        json.loads((run / VERSIONS_FILE).read_text("utf-8"))
        for found in runs.values()
        for run in found.values()
    ]
    return {
        "name": rows.name,
        "title": rows.title,
        "reference": reference,
        "metrics": rows.metrics,
        "common": json.dumps(rows.common),
        "rows": {
            name: {
                "changes": json.dumps(rows.rows[name]),
                "seeds": sorted(found),
                "minutes": [round(_minutes(run), 1) for run in found.values()],
                "values": _over_seeds(values[name], rows.metrics),
                "differences": _differences(
                    values[name], values[reference], rows.metrics
                ),
            }
            for name, found in runs.items()
            if found
        },
        "num_bootstrap": _NUM_BOOTSTRAP,
        "machine": describe_machine(versions),
        "git_commits": sorted({str(v.get("git_commit")) for v in versions}),
        "git_dirty": any(v.get("git_dirty") for v in versions),
    }


def read_rows(path: Path) -> RowsConfig:
    """Reads a file of rows.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no YAML, lacks a field, or has no rows.
    """
    try:
        rows = RowsConfig.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"'{path}' is no file of rows: {error}") from None
    if not rows.rows:
        raise ValueError(f"'{path}' must have `rows`. Received: none.")
    return rows


def _run(rows: RowsConfig, name: str, *, seed: int, work_dir: Path) -> None:
    argv = row_arguments(rows, name, work_dir=work_dir)
    finished_run(load_config(argv, description=""), argv, seed=seed, parent=work_dir)


def row_arguments(rows: RowsConfig, name: str, *, work_dir: Path) -> list[str]:
    """Returns the arguments of `tfrec.train` for a row; writes its changes to files.

    Args:
        rows: Of the page.
        name: Of one of them.
        work_dir: Takes the changes, and the texts, encoded once for all rows.

    Changes that do not fit end the process, as `load_config` does.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    run_name = _run_name(rows, name)
    files = [*rows.config]
    for i, part in enumerate([rows.common, rows.rows[name], {"name": run_name}]):
        file = work_dir / f"{run_name}-{i}.yaml"
        file.write_text(yaml.safe_dump(part, allow_unicode=True), encoding="utf-8")
        files.append(file)
    argv = [part for file in files for part in ("--config", str(file))]
    text = load_config(argv, description="").text
    if text is not None:
        argv += ["--text.cache_dir", str(text.cache_dir or work_dir / "texts")]
    return argv


def _run_name(rows: RowsConfig, name: str) -> str:
    plain = "".join(c if c.isalnum() else "_" for c in name.lower())
    return f"{rows.name}-{plain}"


def _finished(rows: RowsConfig, name: str, work_dir: Path) -> dict[int, Path]:
    stem = f"{_run_name(rows, name)}-seed"
    found = {int(p.name[len(stem) :]): p for p in work_dir.glob(f"{stem}[0-9]*")}
    return {seed: found[seed] for seed in sorted(found) if is_finished(found[seed])}


def _values(run: Path, metrics: Sequence[str]) -> np.ndarray:
    """Returns float `[num_users, num_metrics]` of the leading model of a run."""
    reference = json.loads((run / "metrics.json").read_text("utf-8"))["reference"]
    with np.load(run / VALUES_FILE) as file:
        names = [f"{reference}/all/{metric}" for metric in metrics]
        missing = sorted(set(names) - set(file.files))
        if missing:
            raise ValueError(
                f"'{run / VALUES_FILE}' has no {missing}. Received: {file.files}. "
                "Choose `metrics` among those of `evaluation.k`."
            )
        return np.stack([file[name] for name in names], axis=1)


def _minutes(run: Path) -> float:
    stages = json.loads((run / "timings.json").read_text("utf-8"))
    return sum(stages.values()) / 60.0


def _over_seeds(
    values: Mapping[int, np.ndarray], metrics: Sequence[str]
) -> dict[str, Any]:
    means = np.stack([found.mean(axis=0) for found in values.values()])
    deviation = means.std(axis=0, ddof=1) if len(means) > 1 else np.zeros(len(metrics))
    return {
        metric: {
            "mean": round(float(means[:, i].mean()), 6),
            "sd": round(float(deviation[i]), 6),
        }
        for i, metric in enumerate(metrics)
    }


def _differences(
    values: Mapping[int, np.ndarray],
    reference: Mapping[int, np.ndarray],
    metrics: Sequence[str],
) -> dict[str, Any]:
    """Compares two rows on the seeds that both have, user by user."""
    common = sorted(set(values) & set(reference))
    if values is reference or not common:
        return {}
    ours = np.mean([values[seed] for seed in common], axis=0)
    theirs = np.mean([reference[seed] for seed in common], axis=0)
    found = {}
    for i, metric in enumerate(metrics):
        gap = mean_interval(
            ours[:, i] - theirs[:, i], num_bootstrap=_NUM_BOOTSTRAP, seed=0
        )
        found[metric] = {
            "mean": round(gap.mean, 6),
            "interval": [round(gap.low, 6), round(gap.high, 6)],
            "share": round(gap.mean / max(float(theirs[:, i].mean()), 1e-12), 4),
            "num_seeds": len(common),
        }
    return found


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=Path, required=True, help="YAML file of rows.")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; the page lies beside."
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="Seeds 0 … n-1 (default: 3)."
    )
    parser.add_argument(
        "--only", action="append", help="Row to run; may be repeated (default: all)."
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/ablations"),
        help="Folder of the runs (default: runs/ablations).",
    )
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    return options


if __name__ == "__main__":
    sys.exit(main())
