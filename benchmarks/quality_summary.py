"""Joins the results of one configuration's runs, one a seed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.run_record import CONFIG_FILE, FINISHED_FILE, RETRIEVAL, VERSIONS_FILE

# What must not differ between seeds: their mean would mean nothing.
_COMMON = ("split", "targets", "exclude_seen", "k", "num_queries", "num_items")

_DIGITS = 6  # Kept of a figure; a query more or less moves the fifth at most.


def summarise(runs: Sequence[Path]) -> dict[str, Any]:
    """Joins the results of the seeds.

    Returns:
        `scorers`: per scorer, group and metric the mean and standard deviation over
        seeds (with n - 1; 0 for one seed), and the bootstrap interval over users of
        every seed. `differences`: the same of the reference minus each other scorer,
        with paired intervals. `search`: both for searches, where there are. `heads`:
        the metrics of every head, where there are. Beside them protocol, seeds, wall
        seconds, the events that retrieval learned a second of its training (None
        where a run did not note it), machine and commits.

    Raises:
        FileNotFoundError: If a file of a run is missing.
        ValueError: If the seeds were not evaluated alike.
    """
    results = [_read(run / "metrics.json") for run in runs]
    _check_alike(results, runs)
    versions = [_read(run / VERSIONS_FILE) for run in runs]
    timings = [_read(run / "timings.json") for run in runs]
    config = read_config(runs[0] / CONFIG_FILE)
    first = results[0]
    return {
        "config": config.name,
        "protocol": {
            "split": config.data.split.model_dump(mode="json"),
            "ranking": first["protocol"],
            "ties": first["ties"],
            "confidence": first["confidence"],
            "num_bootstrap": first["num_bootstrap"],
            **{name: first[name] for name in _COMMON if name != "split"},
            "evaluated": first["split"],
            "skipped": first.get("skipped", {}),
            "times": describe_times(config),
        },
        "seeds": [result["seed"] for result in results],
        "leakage": first.get("leakage"),
        "reference": first["reference"],
        "scorers": _per_scorer(results),
        "differences": _differences(results),
        **_search(results),
        **_heads(results),
        "seconds": [round(sum(stages.values()), 1) for stages in timings],
        "stage_seconds": timings,
        "events_per_second": [_events_per_second(run) for run in runs],
        "machine": describe_machine(versions),
        "git_commits": sorted({str(v.get("git_commit")) for v in versions}),
        "git_dirty": any(v.get("git_dirty") for v in versions),
    }


def describe_times(config: ExperimentConfig) -> str:
    """Says which times the models read, of events and of the request."""
    if config.data.event_columns.timestamp is None:
        return "the log has no times: models know its order alone"
    if not config.retrieval.use_event_times:
        return "retrieval reads no times, but the order of events"
    return "models read the times of events and of the request"


def _events_per_second(run: Path) -> float | None:
    history = _read(run / RETRIEVAL / FINISHED_FILE)
    if not {"training_events", "seconds"} <= history.keys():
        return None
    read = history["training_events"] * len(history["seconds"])
    return round(read / sum(history["seconds"]), 1)


def _search(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins what searches found, as `search`; nothing where a run has no searches."""
    found = [result["search"] for result in results if "search" in result]
    if len(found) < len(results):
        return {}
    return {
        "search": {
            "reference": found[0]["reference"],
            "num_queries": found[0]["num_queries"],
            "scorers": _per_scorer(found),
            "differences": _differences(found),
        }
    }


def _heads(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins the metrics of every head, as `heads`; nothing where a run has no heads."""
    found = [result["heads"] for result in results if "heads" in result]
    if len(found) < len(results):
        return {}
    first = found[0]
    same = ("split", "num_bins", "num_retrieved", "confidence", "num_bootstrap")
    return {
        "heads": {
            **{name: first[name] for name in same},
            "heads": {n: _head([f["heads"][n] for f in found]) for n in first["heads"]},
        }
    }


def _head(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins one head; of a metric that a seed could not measure nothing is kept."""
    measured = [seed.get("metrics", {}) for seed in seeds]
    names = [n for n in measured[0] if all(n in metrics for metrics in measured)]
    return {
        "population": " or ".join(sorted({seed["population"] for seed in seeds})),
        "calibrators": sorted({seed["calibrator"] for seed in seeds}),
        "num_events": [seed.get("num_events", 0) for seed in seeds],
        "num_candidates": [seed.get("num_candidates", 0) for seed in seeds],
        "metrics": {
            name: {
                **over_seeds(
                    [metrics[name] for metrics in measured],
                    [s["intervals"][name] for s in seeds if name in s["intervals"]],
                ),
                "max": round(max(metrics[name] for metrics in measured), _DIGITS),
            }
            for name in names
        },
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"'{path}' is missing. Train the run to its end.")
    return json.loads(path.read_text("utf-8"))


def _check_alike(results: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> None:
    for result, run in zip(results, runs, strict=True):
        names = [n for n in _COMMON if result[n] != results[0][n]]
        if list(result["scorers"]) != list(results[0]["scorers"]):
            names.append("scorers")
        if names:
            raise ValueError(
                f"'{runs[0]}' and '{run}' were not evaluated alike: {names} differ. "
                "Delete one of both and run again."
            )


def _per_scorer(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [result["scorers"] for result in results]
    return {
        name: {
            group: {
                metric: over_seeds(
                    [r[name]["groups"][group]["metrics"][metric] for r in rows],
                    [r[name]["groups"][group]["intervals"][metric] for r in rows],
                )
                for metric in part["metrics"]
            }
            for group, part in scorer["groups"].items()
        }
        for name, scorer in rows[0].items()
    }


def _differences(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Turns `scorer - reference` of `metrics.json` into `reference - scorer`."""
    reference = results[0]["reference"]
    rows = [result["scorers"] for result in results]

    def gap(name: str, group: str, metric: str) -> dict[str, Any]:
        parts = [r[name]["groups"][group] for r in rows]
        best = [r[reference]["groups"][group]["metrics"][metric] for r in rows]
        gaps = [b - p["metrics"][metric] for b, p in zip(best, parts, strict=True)]
        bounds = [p["differences"][metric] for p in parts]
        return over_seeds(gaps, [[-high, -low] for low, high in bounds])

    return {
        name: {
            group: {metric: gap(name, group, metric) for metric in part["metrics"]}
            for group, part in scorer["groups"].items()
        }
        for name, scorer in rows[0].items()
        if name != reference
    }


def over_seeds(
    values: Sequence[float], intervals: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """Returns mean and standard deviation over seeds, and every seed's interval."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), _DIGITS),
        "sd": round(deviation, _DIGITS),
        "intervals": [[round(limit, _DIGITS) for limit in pair] for pair in intervals],
    }


def describe_machine(versions: Sequence[Mapping[str, Any]]) -> str:
    """Says on what the runs were made."""
    found = {
        f"{v['num_cpus']} cores, {v['platform']}, Python {v['python']}, "
        f"TensorFlow {v['tensorflow']}"
        for v in versions
    }
    return "; ".join(sorted(found))
