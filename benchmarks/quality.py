"""Trains a configuration with several seeds and prints its table beside baselines.

    python -m benchmarks.quality --config configs/beauty.yaml --seeds 3 \
        --out docs/results/beauty.json [--work_dir runs/quality] [-- overrides ...]

Each seed is a run of its own (`python -m tfrec.train`), on one prepared dataset. A
run that is already finished is read, not made again, so a broken-off benchmark goes
on where it was. Writes the JSON and, beside it, the table as Markdown. Everything
behind `--` overrides the configuration, for example `-- --retrieval.dropout 0.2`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tfrec.config_file import read_config
from tfrec.run_record import write_json

MODELS = ("ranking", "retrieval")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    overrides: list[str] = []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, overrides = arguments[:place], arguments[place + 1 :]
    parser = argparse.ArgumentParser(
        "benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="Seeds 0 … n-1.")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write.")
    parser.add_argument("--work_dir", type=Path, default=Path("runs/quality"))
    options = parser.parse_args(arguments)
    runs = [
        finished_run(options.config, seed, options.work_dir, overrides)
        for seed in range(options.seeds)
    ]
    result = summarise(runs)
    command = f"python -m benchmarks.quality --config {options.config}"
    result["command"] = f"{command} --seeds {options.seeds} --out {options.out}" + (
        " -- " + " ".join(overrides) if overrides else ""
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    options.out.with_suffix(".md").write_text(markdown(result))
    Console().print(terminal_table(result))
    return 0


def finished_run(
    config: Path, seed: int, work_dir: Path, overrides: Sequence[str]
) -> Path:
    """Trains one seed unless its results are there; returns the run's folder.

    Raises:
        SystemExit: If training fails; its output has been shown.
    """
    run = work_dir / f"{config.stem}-seed{seed}"
    if not (run / "metrics.json").is_file():
        command = [sys.executable, "-m", "tfrec.train", "--config", str(config)]
        command += ["--seed", str(seed), "--run_dir", str(run)]
        prepared = str(work_dir / f"{config.stem}-prepared")
        command += ["--data.prepared_dir", prepared, *overrides]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise SystemExit(f"Training of seed {seed} failed: {' '.join(command)}")
    return run


def summarise(runs: Sequence[Path]) -> dict[str, Any]:
    """Joins the results of the seeds.

    Returns:
        Per scorer and group the mean and standard deviation (over seeds, with n - 1;
        0 for one seed) of each metric, the interval over users of the first seed,
        and wall seconds per seed.
    """
    results = [json.loads((run / "metrics.json").read_text()) for run in runs]
    first = results[0]
    scorers: dict[str, Any] = {}
    for name in first["scorers"]:
        rows = [result["scorers"][name] for result in results]
        scorers[name] = {
            group: _over_seeds([groups_of(row)[group] for row in rows])
            for group in groups_of(rows[0])
        }
    config = read_config(runs[0] / "config.yaml")
    timings = [json.loads((run / "timings.json").read_text()) for run in runs]
    return {
        "config": config.name,
        "protocol": {
            "split": config.data.split.model_dump(mode="json"),
            "targets": first["targets"],
            "exclude_seen": first["exclude_seen"],
            "ranking": "full",
            "ties": "against",
            "num_queries": first["num_queries"],
            "num_items": first["num_items"],
        },
        "seeds": [result["seed"] for result in results],
        "scorers": scorers,
        "seconds": [sum(t.values()) for t in timings],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "git_commit": read_versions(runs[0]).get("git_commit"),
    }


def read_versions(run: Path) -> dict[str, Any]:
    """Reads what the run was made with."""
    return json.loads((run / "versions.json").read_text())


def groups_of(scorer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metrics and intervals of a scorer by group."""
    if "groups" in scorer:
        return dict(scorer["groups"])
    return {"all": scorer}


def _over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in rows[0]["metrics"]:
        values = np.array([row["metrics"][name] for row in rows])
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        found[name] = {
            "mean": float(values.mean()),
            "sd": deviation,
            "interval": rows[0].get("intervals", {}).get(name),
        }
    return found


def shown_metrics(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Recall and NDCG at 20 for windows, HR and NDCG at 10 for one positive."""
    window = result["protocol"]["targets"] == "window"
    return ("Recall@20", "NDCG@20") if window else ("HR@10", "NDCG@10")


def table_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows, the models first."""
    names = shown_metrics(result)
    scorers = result["scorers"]
    groups = [
        g for g in ("all", "novel", "repeat") if g in next(iter(scorers.values()))
    ]
    if result["protocol"]["exclude_seen"]:
        groups = ["all"]
    header = ["scorer", *(f"{group} {name}" for group in groups for name in names)]
    rows = []
    for scorer, found in scorers.items():
        cells = [found.get(group, {}).get(name) for group in groups for name in names]
        rows.append([scorer, *(_cell(c, varies=scorer in MODELS) for c in cells)])
    return header, rows


def _cell(value: Mapping[str, Any] | None, *, varies: bool) -> str:
    if value is None:
        return ""
    text = f"{value['mean']:.4f}"
    if varies:
        text += f" ± {value['sd']:.4f}"
    if value["interval"]:
        low, high = value["interval"]
        text += f" [{low:.4f}, {high:.4f}]"
    return text


def comparisons(result: Mapping[str, Any]) -> list[str]:
    """Says for each shown metric and group how the models stand to the baselines."""
    lines = []
    header, _ = table_rows(result)
    for column in header[1:]:
        group, name = column.split(" ", 1)
        means = {
            s: found[group][name]["mean"] for s, found in result["scorers"].items()
        }
        others = {s: v for s, v in means.items() if s not in (*MODELS, "oracle")}
        best = max(others, key=lambda s: others[s])
        for model in (m for m in MODELS if m in means):
            gain = means[model] / others[best] - 1.0
            lines.append(
                f"{column}: {model} {means[model]:.4f}, best baseline {best} "
                f"{others[best]:.4f}, {gain:+.1%}"
            )
    return lines


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the table as a page of `docs/results`."""
    header, rows = table_rows(result)
    protocol = result["protocol"]
    seconds = ", ".join(f"{s / 60:.1f}" for s in result["seconds"])
    lines = [
        f"# {result['config']}",
        "",
        f"`{result['command']}`",
        "",
        f"Split {protocol['split']['protocol']}, targets {protocol['targets']}, full "
        f"ranking of {protocol['num_items']:,} items, {protocol['num_queries']:,} "
        "queries, ties against the scorer, "
        f"{'history items removed' if protocol['exclude_seen'] else 'history kept'}. "
        f"Seeds {result['seeds']}: mean ± standard deviation over seeds; in brackets "
        "the 95 % bootstrap interval over users, seed 0.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *(f"- {line}" for line in comparisons(result)),
        "",
        f"Training and evaluation took {seconds} minutes a seed on {result['machine']} "
        f"(shared). Commit {str(result.get('git_commit'))[:12]}.",
        "",
    ]
    return "\n".join(lines)


def terminal_table(result: Mapping[str, Any]) -> Table:
    """Renders the table for the terminal."""
    header, rows = table_rows(result)
    table = Table(*header, title=f"{result['config']}, seeds {result['seeds']}")
    for row in rows:
        table.add_row(*row)
    table.caption = "\n".join(comparisons(result))
    return table


if __name__ == "__main__":
    sys.exit(main())
