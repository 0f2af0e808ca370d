"""What a study has found: tables, the best settings, all trials as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from tfrec.config import ExperimentConfig
from tfrec.evaluation.plots import plot_trials
from tfrec.run_record import git_state, library_versions, write_json
from tfrec.tuning.space import Dimension, decode, nest
from tfrec.tuning.study import NOTE, OWN, RUN, TuningStudy, metric_of

BEST_FILE = "best.yaml"
TRIALS_FILE = "trials.json"
PLOT_FILE = "history.png"


def write_results(study: TuningStudy) -> FrozenTrial:
    """Writes `best.yaml`, `trials.json` and `history.png` into the study's folder.

    Returns:
        The best trial.

    Raises:
        ValueError: If no trial has come to its end.
    """
    trials = study.trials()
    best = best_trial(trials)
    config, folder = study.config, study.folder
    text = best_yaml(config, trials, folder=folder)
    partial = folder / f".{BEST_FILE}.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / BEST_FILE)
    write_json(folder / TRIALS_FILE, to_json(config, trials, study.space))
    finished = [t for t in trials if t.value is not None and t.state.is_finished()]
    plot_trials(
        [t.number for t in finished],
        [float(t.value or 0.0) for t in finished],
        folder / PLOT_FILE,
        pruned=[t.state == TrialState.PRUNED for t in finished],
        metric=metric_of(config),
    )
    return best


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Returns the best trial that came to its end, the first of equal ones.

    Raises:
        ValueError: If there is none.
    """
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    if not done:
        notes = [str(t.user_attrs[NOTE]) for t in trials if NOTE in t.user_attrs]
        last = f" The last one: {notes[-1]}." if notes else ""
        raise ValueError(
            f"None of {len(trials)} trials has come to its end, so there is no best."
            f"{last} Narrow `tune.space`, or raise `tune.trials`."
        )
    return max(done, key=lambda t: (t.value, -t.number))


def has_best(trials: Sequence[FrozenTrial]) -> bool:
    """Whether any trial has come to its end."""
    return any(t.state == TrialState.COMPLETE for t in trials)


def best_yaml(
    config: ExperimentConfig, trials: Sequence[FrozenTrial], *, folder: Path
) -> str:
    """Renders the settings of the best trial as a configuration file.

    Its header says which study chose them, by what and at which cost.
    """
    best, metric = best_trial(trials), metric_of(config)
    own = [t for t in trials if t.user_attrs.get(OWN)]
    start = next((t for t in own if t.state == TrialState.COMPLETE), None)
    compared = "" if start is None else f" (unchanged configuration: {start.value:.4f})"
    counts = {s: sum(t.state == s for t in trials) for s in TrialState}
    minutes = sum(t.user_attrs.get("seconds", 0.0) for t in trials) / 60
    limit = config.tune.timeout_minutes
    values = {name: decode(value) for name, value in best.params.items()}
    if config.tune.metric is not None:
        values["evaluation.selection_metric"] = config.tune.metric
    header = [
        f"Chosen by `tfrec tune`, study {folder.name} of {config.name}: pass this",
        "file as one more --config behind those of the study.",
        f"Metric: validation {metric} {best.value:.4f}, trial {best.number}{compared}.",
        f"Budget: {config.tune.trials} trials"
        + (f", {limit:g} minutes" if limit is not None else "")
        + f"; used: {counts[TrialState.COMPLETE]} to their end, "
        f"{counts[TrialState.PRUNED]} pruned, {minutes:.1f} minutes.",
        f"Stages: {config.tune.stages}; pruner: {config.tune.pruner}; "
        f"seed: {config.seed}. The test split was not read.",
    ]
    comment = "".join(f"# {line}\n" for line in header)
    return comment + yaml.safe_dump(nest(values), sort_keys=False)


def to_json(
    config: ExperimentConfig,
    trials: Sequence[FrozenTrial],
    space: Sequence[Dimension],
) -> dict[str, Any]:
    """Returns all that is known of the trials."""
    return {
        "metric": f"validation {metric_of(config)}",
        "tune": config.tune.model_dump(mode="json"),
        "seed": config.seed,
        "space": {one.key: one.describe() for one in space},
        "versions": {
            **library_versions(),
            "optuna": optuna.__version__,
            **git_state(),
        },
        "trials": [_trial_json(trial) for trial in trials],
    }


def _trial_json(trial: FrozenTrial) -> dict[str, Any]:
    kept = ("best_epoch", "epochs", "seconds", OWN, NOTE, RUN)
    return {
        "number": trial.number,
        "state": _state(trial),
        "value": trial.value,
        "values": {name: decode(value) for name, value in trial.params.items()},
        "by_epoch": list(trial.intermediate_values.values()),
        **{name: trial.user_attrs[name] for name in kept if name in trial.user_attrs},
    }


def trials_table(
    trials: Sequence[FrozenTrial], space: Sequence[Dimension], *, metric: str
) -> Table:
    """Builds the table of trials: the finished from the best on, then the others."""
    table = Table(
        title=f"Trials by validation {metric}", title_justify="left", box=SIMPLE_HEAD
    )
    table.pad_edge, table.collapse_padding = False, True
    for name in ("trial", "state", metric, "epochs", "time"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for dimension in space:
        table.add_column(_short(dimension.key), justify="right", overflow="fold")
    best = best_trial(trials).number if has_best(trials) else None
    for trial in sorted(trials, key=_order):
        cells = _cells(trial, space)
        is_best = trial.number == best
        table.add_row(*map(escape, cells), style="bold green" if is_best else "")
    return table


def describe_trial(trial: FrozenTrial, *, metric: str) -> str:
    """Says in one line how a trial ended."""
    values = ", ".join(
        f"{_short(name)} {_figure(decode(value))}"
        for name, value in trial.params.items()
    )
    value = "" if trial.value is None else f", {metric} {trial.value:.4f}"
    note = trial.user_attrs.get(NOTE)
    said = f" ({note})" if note else ""
    return f"Trial {trial.number} {_state(trial)}{value}{said}: {values}"


def _state(trial: FrozenTrial) -> str:
    """Returns the state in words; a failed trial that says nothing was killed."""
    if trial.state == TrialState.FAIL and NOTE not in trial.user_attrs:
        return "killed"
    return trial.state.name.lower()


def _order(trial: FrozenTrial) -> tuple[bool, float, int]:
    value = trial.value if trial.value is not None else float("-inf")
    return trial.state != TrialState.COMPLETE, -value, trial.number


def _cells(trial: FrozenTrial, space: Sequence[Dimension]) -> list[str]:
    attributes: Mapping[str, Any] = trial.user_attrs
    epochs = attributes.get("epochs") or len(trial.intermediate_values) or "–"
    seconds = attributes.get("seconds")
    return [
        str(trial.number),
        _state(trial),
        "–" if trial.value is None else f"{trial.value:.4f}",
        str(epochs),
        "–" if seconds is None else f"{seconds:.0f} s",
        *(_figure(decode(trial.params.get(one.key, "–"))) for one in space),
    ]


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(key: str) -> str:
    """Returns the last word of a name, with its stage where two stages have it."""
    parts = key.split(".")
    stage = next((p for p in parts if p in ("ranking", "text")), "")
    return f"{stage} {parts[-1]}".strip().replace("_", " ")
