"""The reliability plot: what heads say, and how often it happens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfrec.evaluation.plots import COLOURS, MUTED, save_figure, strip_axes

_COLUMNS = 2
_STYLES = (
    ("uncalibrated", "before calibration", COLOURS[1], "s"),
    ("calibrated", "as served", COLOURS[0], "o"),
)


def plot_reliability(heads: Mapping[str, Any], path: Path) -> None:
    """Draws one panel a head: share of events by predicted probability.

    Both axes are logarithmic, for events are rare. On the diagonal a head is right;
    above it promises too little. A bin without any event is not drawn.

    Args:
        heads: `heads` of `metrics.json`.
        path: The PNG to write.

    Raises:
        ValueError: If no head was measured.
    """
    drawn = {n: h for n, h in heads["heads"].items() if "reliability" in h}
    if not drawn:
        raise ValueError(
            "`heads` must hold at least one head that was measured. Received: "
            f"{list(heads['heads'])}, none of them with `reliability`."
        )
    num_rows = -(-len(drawn) // _COLUMNS)
    figure = Figure(figsize=(9.5, 4.2 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, _COLUMNS, squeeze=False).ravel()
    for axes, (name, head) in zip(panels, drawn.items(), strict=False):
        _draw_head(axes, head["reliability"])
        title = f"{name} ({head['population']}, {head['num_events']:,} events)"
        axes.set_title(title, loc="left", fontsize=11)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    save_figure(figure, path)


def _draw_head(
    axes: Axes, reliability: Mapping[str, Sequence[Mapping[str, float]]]
) -> None:
    ends = []
    for key, label, colour, marker in _STYLES:
        points = [p for p in reliability[key] if p["observed"] > 0]
        x = [p["predicted"] for p in points]
        y = [p["observed"] for p in points]
        axes.plot(x, y, color=colour, marker=marker, ms=4, lw=1.2, label=label)
        ends += x + y
    if ends:
        diagonal = [min(ends), max(ends)]
        axes.plot(diagonal, diagonal, color=MUTED, linestyle=":", zorder=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share of events")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    strip_axes(axes)
