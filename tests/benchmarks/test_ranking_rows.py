"""Rows of `benchmarks.ranking`: what they change, and which fit the data."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ranking_rows import check_installed, choose_rows, switch_rows
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig

SHOP: dict[str, Any] = {
    "event_columns": {
        "event_type": "type",
        "timestamp": "time",
        "impression_id": "list",
        "position": "place",
        "dwell_seconds": "dwell",
    },
    "event_types": ["view", "click", "cart"],
    "target_event_types": ["view"],
    # Heads may stand in any order; a funnel goes by strength.
    "head_event_types": ["cart", "view", "click"],
    "impression_event_type": "shown",
}


def shop(tmp_path: Path, **ranking: object) -> ExperimentConfig:
    return make_config(tmp_path, data=SHOP, ranking=ranking)


def test_default_comes_first_and_what_changes_nothing_is_no_row(tmp_path: Path) -> None:
    names = [row.name for row in choose_rows(shop(tmp_path))]
    assert names[0] == "default"
    assert "cross" in names
    assert not {"concat", "shared_bottom", "pointwise_listwise"} & set(names)
    crossed = [row.name for row in choose_rows(shop(tmp_path, fusion="cross"))]
    assert "concat" in crossed
    assert "cross" not in crossed
    assert not [name for name in crossed if name.startswith("cross+")]


def test_every_row_differs_from_the_default_and_is_valid(tmp_path: Path) -> None:
    config = shop(tmp_path)
    applied = [row.apply(config) for row in choose_rows(config)]
    assert applied[0] == config
    assert all(one != config for one in applied[1:])
    kept = {
        one.model_copy(update={"ranking": None}).model_dump_json() for one in applied
    }
    assert len(kept) == 1  # Nothing but ranking differs.


def test_loss_rows_turn_the_other_losses_off(tmp_path: Path) -> None:
    rows = {row.name: row for row in switch_rows(shop(tmp_path))}
    found = rows["pointwise_pairwise"].apply(shop(tmp_path)).ranking
    assert found is not None
    weights = (found.pointwise_weight, found.pairwise_weight, found.listwise_weight)
    assert weights == (1.0, 1.0, 0.0)
    # Only what differs from the default is a change.
    assert rows["listwise"].changes == {"pointwise_weight": 0.0}


def test_funnel_is_of_heads_that_are_no_targets_in_order_of_strength(
    tmp_path: Path,
) -> None:
    rows = {row.name: row for row in switch_rows(shop(tmp_path))}
    assert rows["funnel"].changes == {"funnel": ("click", "cart")}


def test_rows_need_what_the_data_have(tmp_path: Path) -> None:
    names = {row.name for row in switch_rows(shop(tmp_path))}
    assert {"dwell", "examination", "no_impressions", "mmoe", "graded"} <= names
    assert "propensity" not in names  # The log has no such column.
    plain = {row.name for row in switch_rows(make_config(tmp_path))}
    assert not {"dwell", "examination", "no_impressions", "mmoe", "graded"} & plain
    assert "cross" in plain


def test_names_joined_by_plus_make_both_changes(tmp_path: Path) -> None:
    (_, row) = choose_rows(shop(tmp_path), ["cross+mmoe"])
    assert row.changes == {"fusion": "cross", "task_layers": "mmoe"}
    assert row.part == "combination"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["crass"], r"Received: \['crass'\]"),
        (["cross+gated"], "must set every field once"),
        (["cross", "cross"], r"twice: \['cross'\]"),
    ],
)
def test_wrong_rows_are_explained(
    names: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_rows(shop(tmp_path), names)


def test_retrieval_alone_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ranking=null of 'toy'"):
        choose_rows(make_config(tmp_path, ranking=None))


def test_missing_lightgbm_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ModuleNotFoundError, match=r"\.\[benchmarks\].*--rivals"):
        check_installed()
