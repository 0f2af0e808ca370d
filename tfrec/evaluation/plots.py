"""Pictures of a run: training curves, metrics with their intervals."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfrec.evaluation.tables import ORACLE, main_k

COLOURS = ("#3d6fb6", "#d1702c", "#3f9460", "#a14a7b")
MUTED = "#9aa4b1"
_TEXT = "#333333"
_DOTS_PER_INCH = 150


def plot_training_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    path: Path,
    *,
    selection_metric: str,
) -> None:
    """Draws loss and validation metrics by epoch, one row a stage.

    Args:
        histories: Per stage (`retrieval`, `ranking`) what `history.json` holds:
            `epoch`, and per epoch `loss`, `validation_loss` and any
            `validation_<metric>`.
        path: The PNG to write.
        selection_metric: The one that chose the best epoch, which is marked.

    Raises:
        ValueError: If there is nothing to draw, or lengths differ.
    """
    if not histories:
        raise ValueError(
            "`histories` must hold at least one stage. Received: an empty mapping."
        )
    figure = Figure(figsize=(9.5, 3.3 * len(histories)), layout="constrained")
    rows = figure.subplots(len(histories), 2, squeeze=False)
    for (stage, history), (loss_axes, metric_axes) in zip(
        histories.items(), rows, strict=True
    ):
        _check_history(stage, history)
        losses = [n for n in ("loss", "validation_loss") if n in history]
        metrics = _different(history, [n for n in history if "@" in n])
        _draw_curves(loss_axes, history, losses)
        loss_axes.set_title(f"{stage}: loss", loc="left", fontsize=11)
        _draw_curves(metric_axes, history, metrics)
        metric_axes.set_title(f"{stage}: validation", loc="left", fontsize=11)
        chosen = f"validation_{selection_metric}"
        if chosen in history:
            _mark_best(metric_axes, history, chosen)
    save_figure(figure, path)


def plot_metrics(
    metrics: Mapping[str, Any], path: Path, *, metric: str | None = None
) -> None:
    """Draws one bar a scorer with its interval; novel items beside all items.

    Args:
        metrics: What `EvaluationResult.to_json` returns.
        path: The PNG to write.
        metric: Which one; None: NDCG at 10, or at the longest list.
    """
    metric = metric or f"NDCG@{main_k(metrics)}"
    # A log where every target is known, or none is, has one group only.
    split = {"novel", "repeat"} <= metrics["groups"].keys()
    groups = ["all", "novel"] if split else ["all"]
    height = 1.1 + 0.42 * len(metrics["scorers"])
    figure = Figure(figsize=(5.2 * len(groups) + 1, height), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, group in zip(panels, groups, strict=True):
        _draw_bars(axes, metrics, group=group, metric=metric)
    panels[0].invert_yaxis()
    save_figure(figure, path)


def plot_trials(
    numbers: Sequence[int],
    values: Sequence[float],
    path: Path,
    *,
    pruned: Sequence[bool],
    metric: str,
) -> None:
    """Draws the value of every trial of a study, and the best one until then.

    Args:
        numbers: Of the trials, in their order.
        values: The validation metric of each; of a pruned one the last it had.
        path: The PNG to write.
        pruned: Which were ended early; they are never the best.
        metric: What the values are.
    """
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    kinds = ((False, "to its end", COLOURS[0]), (True, "pruned", "none"))
    for kind, label, face in kinds:
        shown = [i for i, was_pruned in enumerate(pruned) if was_pruned == kind]
        if shown:
            axes.scatter(
                [numbers[i] for i in shown],
                [values[i] for i in shown],
                c=face,
                edgecolors=MUTED if kind else COLOURS[0],
                label=label,
            )
    whole = [(n, v) for n, v, p in zip(numbers, values, pruned, strict=True) if not p]
    best = [max(v for _, v in whole[: i + 1]) for i in range(len(whole))]
    axes.step([n for n, _ in whole], best, where="post", color=_TEXT, label="best")
    axes.set_title(f"Trials: validation {metric}", loc="left", fontsize=11)
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    strip_axes(axes)
    save_figure(figure, path)


def _check_history(stage: str, history: Mapping[str, Sequence[float]]) -> None:
    lengths = {name: len(values) for name, values in history.items()}
    if "epoch" not in lengths or len(set(lengths.values())) > 1:
        raise ValueError(
            f"The history of '{stage}' must have `epoch` and one value per epoch in "
            f"every list. Received: lengths={lengths}."
        )


def _different(
    history: Mapping[str, Sequence[float]], names: Sequence[str]
) -> list[str]:
    """Leaves out curves that would lie under another: HR is Recall of one target."""
    kept: list[str] = []
    for name in reversed(names):
        if all(list(history[name]) != list(history[other]) for other in kept):
            kept.insert(0, name)
    return kept


def _draw_curves(
    axes: Axes, history: Mapping[str, Sequence[float]], names: Sequence[str]
) -> None:
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        label = name.removeprefix("validation_") if "@" in name else name
        label = label.replace("_", " ")
        epochs = history["epoch"]
        axes.plot(epochs, history[name], color=colour, marker="o", ms=3, label=label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.25)
    strip_axes(axes)
    if names:
        axes.legend(frameon=False, fontsize=9)
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)


def _mark_best(axes: Axes, history: Mapping[str, Sequence[float]], name: str) -> None:
    values = history[name]
    best = max(range(len(values)), key=lambda i: values[i])
    epoch = history["epoch"][best]
    axes.axvline(epoch, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
    axes.plot([epoch], [values[best]], "o", ms=8, mfc="none", mec=_TEXT)
    axes.margins(y=0.18)
    axes.annotate(
        f"best {name.removeprefix('validation_')} {values[best]:.4f}",
        (epoch, values[best]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right" if best > len(values) / 2 else "left",
        fontsize=9,
        color=_TEXT,
    )


def _draw_bars(
    axes: Axes, metrics: Mapping[str, Any], *, group: str, metric: str
) -> None:
    scorers = metrics["scorers"]
    values = [s["groups"][group]["metrics"][metric] for s in scorers.values()]
    ends = [s["groups"][group]["intervals"][metric] for s in scorers.values()]
    errors = [
        [max(value - low, 0) for value, (low, _) in zip(values, ends, strict=True)],
        [max(high - value, 0) for value, (_, high) in zip(values, ends, strict=True)],
    ]
    rivals = [v for n, v in zip(scorers, values, strict=True) if n != ORACLE]
    colours = [
        MUTED if name == ORACLE or value < max(rivals, default=0) else COLOURS[0]
        for name, value in zip(scorers, values, strict=True)
    ]
    places = range(len(scorers))
    bars = axes.barh(
        places, values, xerr=errors, color=colours, height=0.62, ecolor=_TEXT
    )
    for name, bar in zip(scorers, bars, strict=True):
        if name == ORACLE:
            bar.set(hatch="////", facecolor="white", edgecolor=MUTED)
    right = max((high for _, high in ends), default=0) or 1.0
    for place, value, (_, high) in zip(places, values, ends, strict=True):
        axes.text(high + right * 0.02, place, f"{value:.4f}", va="center", fontsize=9)
    axes.set_yticks(places, list(scorers))
    axes.set_xlim(0, right * 1.2)
    num_queries = metrics["groups"][group]
    title = f"{metric}, {group} items ({num_queries:,} queries)"
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(f"mean and {metrics['confidence']:.0%} interval")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    strip_axes(axes)


def strip_axes(axes: Axes) -> None:
    """Hides the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG; a kill leaves the old or the new one whole."""
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=_DOTS_PER_INCH)
    os.replace(partial, path)
