"""`benchmarks.position_bias`: its ratios by hand, and the whole way on a tiny shop."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import position_bias
from benchmarks.position_bias_measure import MODELS, SeedFigures
from benchmarks.position_bias_tables import markdown, summarise, verdicts
from tests.training.conftest import make_config


def figures(
    seed: int, *, biased: float, revenue: float, retrieved: tuple[float, float]
) -> SeedFigures:
    """Three lists of two shoppers; `biased`: order of models on biased lists.

    These and `revenue` are of the items that were shown; `retrieved` has the same of
    those of retrieval. `propensity` is as good as unbiased lists, whatever the others.
    """
    values: dict[str, dict[str, np.ndarray]] = {}
    by_kind = {"shown": (biased, revenue), "retrieved": retrieved}
    for name in MODELS:
        values[name] = {
            f"{kind}_{figure}": np.array(found)
            for kind, (order, revenue) in (
                by_kind
                if name != "propensity"
                else {"shown": (0.8, 1.0), "retrieved": (0.8, 1.0)}
            ).items()
            for figure, found in {
                "order": [0.8 if name == "unbiased" else order] * 3,
                "retrieval_order": [0.4] * 3,
                # Sums 10 revenue and 10: not the mean of the lists' ratios.
                "revenue": [1.0 * revenue, 3.0 * revenue, 6.0 * revenue],
                "best": [1.0, 3.0, 6.0],
                "clicks": [0.5, 0.5, 0.5],
                "true_clicks": [1.0, 1.0, 1.0],
                "observer_order": [0.9] * 3,
                "observer_revenue": [0.9, 2.7, 5.4],  # 9 of 10.
                "observer_clicks": [1.0, 0.5, 1.5],
            }.items()
        }
    versions = {"git_commit": "abcdef1234567890", "git_dirty": False}
    versions |= {"num_cpus": "2", "platform": "Linux", "python": "3.11.7"}
    users = np.array(["u", "u", "v"], object)
    return SeedFigures(seed, users, values, {**versions, "tensorflow": "2.21"}, 20)


def result(
    tmp_path: Path,
    *,
    biased: float,
    revenue: float,
    retrieved: tuple[float, float] = (0.6, 0.9),
    list_order: str = "popularity",
) -> dict[str, Any]:
    seeds = [
        figures(seed, biased=biased, revenue=revenue, retrieved=retrieved)
        for seed in range(2)
    ]
    found = summarise(make_config(tmp_path), seeds, list_order=list_order)
    return {**found, "command": "python"}


def test_ratios_are_of_sums_over_lists(tmp_path):
    found = result(tmp_path, biased=0.76, revenue=0.99)["kinds"]["shown"]
    assert found["examination"]["order"]["mean"] == pytest.approx(0.76)
    assert found["examination"]["of unbiased"]["mean"] == pytest.approx(0.95)
    assert found["none"]["revenue of best"]["mean"] == pytest.approx(0.99)
    assert found["none"]["predicted / true clicks"]["mean"] == pytest.approx(0.5)
    assert found["retrieval order"]["of unbiased"]["mean"] == pytest.approx(0.5)
    observer = found["observer"]
    assert observer["order"]["mean"] == pytest.approx(0.9)
    assert observer["revenue of best"]["mean"] == pytest.approx(0.9)
    assert observer["predicted / true clicks"]["mean"] == pytest.approx(1.0)
    assert found["none"]["of observer"]["mean"] == pytest.approx(1.1)
    # All shoppers are alike: whoever is drawn, the ratio stays.
    np.testing.assert_allclose(found["none"]["of unbiased"]["intervals"], 0.95)


@pytest.mark.parametrize(
    ("shown", "retrieved", "met"),
    [
        # 98 % of the observer's revenue is 88.2 % of the best. Examination, propensity:
        # first the order, then the revenue.
        ((0.761, 0.883), (0.759, 0.881), "met met met met, no met no met"),
        ((0.759, 0.881), (0.761, 0.883), "no met no met, met met met met"),
        ((0.761, 0.881), (0.759, 0.883), "met met no met, no met met met"),
    ],
)
def test_goals_are_95_percent_of_the_order_and_98_of_the_revenue_of_both_kinds(
    shown, retrieved, met, tmp_path
):
    found = result(tmp_path, biased=shown[0], revenue=shown[1], retrieved=retrieved)
    lines = verdicts(found)
    words = met.replace(",", "").split()
    assert [is_met for _, is_met in lines] == [word == "met" for word in words]
    kinds = [line.split(" items")[0] for line, _ in lines]
    assert kinds == ["shown"] * 4 + ["retrieved"] * 4


def test_lists_in_a_drawn_order_may_be_taken_as_they_are(tmp_path):
    found = result(tmp_path, biased=0.76, revenue=0.99, list_order="random")
    judged = [line.split("position_bias=")[1] for line, _ in verdicts(found)]
    names = [line.partition(":")[0] for line in judged]
    assert names == ["none", "examination", "propensity"] * 4
    assert "in an order drawn by chance" in markdown(found)


def test_page_names_lists_shoppers_and_commit(tmp_path):
    page = markdown(result(tmp_path, biased=0.76, revenue=0.99))
    for words in ("3 lists of 2 shoppers", "Commit abcdef123456.", "| shown items,"):
        assert words in page
    assert "| none | 0.7600 ± 0.0000 [0.7600, 0.7600] |" in page


@pytest.mark.slow
def test_models_are_trained_once_and_measured_against_the_truth(tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    arguments = [
        *("--size", "tiny", "--seeds", "1", "--out", str(out)),
        *("--work_dir", str(tmp_path / "work"), "--retrieval.embedding_dim", "8"),
        *("--retrieval.feedforward_dim", "8", "--ranking.num_candidates", "20"),
        *("--training.retrieval.max_epochs", "1", "--ranking.hidden_dims", "[4]"),
        *("--training.ranking.max_epochs", "1", "--evaluation.num_bootstrap", "20"),
        *("--training.ranking.optimizer.warmup_steps", "0"),
        *("--training.ranking.optimizer.learning_rate", "0.01"),
    ]
    assert position_bias.main(arguments) == 0
    found = json.loads(out.read_text())
    shown = found["kinds"]["shown"]
    assert list(shown) == [*MODELS, "retrieval order", "observer"]
    assert 0.8 < shown["observer"]["predicted / true clicks"]["mean"] < 1.25
    for name in MODELS:  # A model of one epoch is no match.
        assert shown[name]["of observer"]["mean"] < 1.0
    for name in MODELS:
        assert 0.5 < shown[name]["order"]["mean"] < 1.0
        assert 0.5 < shown[name]["revenue of best"]["mean"] < 1.0
    assert shown["unbiased"]["of unbiased"]["mean"] == 1.0
    assert shown["unbiased"]["order"] != shown["none"]["order"]

    from benchmarks import position_bias_measure

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("Trained again.")

    monkeypatch.setattr(position_bias_measure, "train_ranking", fail)
    assert position_bias.main([*arguments, "--check"]) == 1  # The goals are missed.
    assert json.loads(out.read_text())["kinds"] == found["kinds"]
