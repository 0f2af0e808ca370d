from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from tfrec.evaluation import plots
from tfrec.evaluation.plots import plot_metrics, plot_training_curves, plot_trials

HISTORY = {
    "epoch": [1, 2, 3],
    "loss": [3.0, 2.0, 1.0],
    "validation_NDCG@10": [0.1, 0.3, 0.2],
}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Keeps the figures that are saved."""
    saved, save = [], plots.save_figure

    def keep(figure: Figure, path: Path) -> None:
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    return saved


def test_curves_show_the_values_and_mark_the_best_epoch(
    tmp_path: Path, figures: list[Figure]
) -> None:
    path = tmp_path / "training_curves.png"
    # Recall is best in another epoch, and chose nothing; HR lies under it.
    hidden = {
        name: [0.4, 0.3, 0.2] for name in ("validation_HR@10", "validation_Recall@10")
    }
    history = {**HISTORY, **hidden}
    plot_training_curves(
        {"retrieval": history, "ranking": HISTORY}, path, selection_metric="NDCG@10"
    )
    assert len(figures[0].axes) == 4
    loss, validation = figures[0].axes[:2]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), HISTORY["loss"])
    assert loss.get_title(loc="left") == "retrieval: loss"
    assert [text.get_text() for text in validation.texts] == ["best NDCG@10 0.3000"]
    assert validation.lines[-1].get_xdata()[0] == 2  # type: ignore[index]
    legend = validation.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["NDCG@10", "Recall@10"]
    assert imread(path).std() > 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_stage_without_validation_says_so(
    tmp_path: Path, figures: list[Figure]
) -> None:
    history = {"epoch": [1], "loss": [3.0]}
    path = tmp_path / "curves.png"
    plot_training_curves({"ranking": history}, path, selection_metric="NDCG@10")
    assert figures[0].axes[1].texts[0].get_text() == "not measured"


def test_bad_histories_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'ranking' must have.*'loss': 1"):
        plot_training_curves(
            {"ranking": {"epoch": [1, 2], "loss": [1.0]}},
            tmp_path / "curves.png",
            selection_metric="NDCG@10",
        )
    with pytest.raises(ValueError, match="at least one stage"):
        plot_training_curves({}, tmp_path / "curves.png", selection_metric="NDCG@10")
    assert not list(tmp_path.iterdir())


def test_bars_have_the_length_of_the_metric(
    tmp_path: Path, figures: list[Figure]
) -> None:
    def scorer(value: float) -> dict[str, Any]:
        part = {
            "metrics": {"NDCG@10": value},
            "intervals": {"NDCG@10": [value - 0.01, value + 0.02]},
        }
        return {"groups": {"all": part, "novel": part, "repeat": part}}

    metrics = {
        "k": [5, 10],
        "confidence": 0.95,
        "groups": {"all": 9, "novel": 5, "repeat": 4},
        "scorers": {"model": scorer(0.3), "pop": scorer(0.1), "oracle": scorer(0.5)},
    }
    plot_metrics(metrics, tmp_path / "metrics.png")
    panels = figures[0].axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [
        "NDCG@10, all items (9 queries)",
        "NDCG@10, novel items (5 queries)",
    ]
    widths = [bar.get_width() for bar in panels[0].patches]  # type: ignore[attr-defined]
    assert widths == [0.3, 0.1, 0.5]
    colours = [bar.get_facecolor() for bar in panels[0].patches]
    assert colours[0] != colours[1] != colours[2]


@pytest.mark.parametrize("only", ["novel", "repeat"])
def test_log_whose_targets_are_all_of_one_kind_has_one_panel(
    tmp_path: Path, figures: list[Figure], only: str
) -> None:
    part = {"metrics": {"NDCG@10": 0.3}, "intervals": {"NDCG@10": [0.2, 0.4]}}
    metrics = {
        "k": [10],
        "confidence": 0.95,
        "groups": {"all": 9, only: 9},
        "scorers": {"model": {"groups": {"all": part, only: part}}},
    }
    plot_metrics(metrics, tmp_path / "metrics.png")
    assert len(figures[0].axes) == 1


def test_trials_show_the_best_so_far_and_pruned_ones_are_never_it(
    tmp_path: Path, figures: list[Figure]
) -> None:
    plot_trials(
        [0, 1, 2, 4],
        [0.2, 0.9, 0.1, 0.3],
        tmp_path / "history.png",
        pruned=[False, True, False, False],
        metric="NDCG@10",
    )
    (axes,) = figures[0].axes
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [0.2, 0.2, 0.3]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [0, 2, 4]
    ended, pruned = axes.collections
    assert len(np.asarray(ended.get_offsets())) == 3
    assert np.asarray(pruned.get_offsets()).tolist() == [[1, 0.9]]
    assert imread(tmp_path / "history.png").std() > 0
