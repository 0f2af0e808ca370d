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
    assert "concat" in names
    assert not {"cross", "shared_bottom", "pointwise_listwise"} & set(names)
    assert not [name for name in names if name.startswith("cross+")]
    plain = [row.name for row in choose_rows(shop(tmp_path, fusion="concat"))]
    assert {"cross", "cross+mmoe"} <= set(plain)
    assert "concat" not in plain


def test_every_row_differs_from_the_default_and_is_valid(tmp_path: Path) -> None:
    config = shop(tmp_path)
    applied = [row.apply(config) for row in choose_rows(config)]
    assert applied[0] == config
    assert all(one != config for one in applied[1:])
    kept = {
        one.model_copy(update={"ranking": None}).model_dump_json() for one in applied
    }
    assert len(kept) == 1  # Nothing but ranking differs.


@pytest.mark.parametrize("novel_weight", [0.0, 1.0])
def test_loss_rows_turn_the_other_losses_off(
    novel_weight: float, tmp_path: Path
) -> None:
    config = shop(tmp_path, novel_weight=novel_weight)
    rows = {row.name: row for row in switch_rows(config)}
    on = {
        "pointwise": ["pointwise"],
        "listwise": ["listwise"],
        "pointwise_pairwise": ["pointwise", "pairwise"],
        "listmle": ["pointwise", "listmle"],
    }
    kinds = ("pointwise", "pairwise", "listwise", "listmle", "novel")
    for name, expected in on.items():
        found = rows[name].apply(config).ranking
        weights = {kind: getattr(found, f"{kind}_weight") for kind in kinds}
        assert weights == {kind: float(kind in expected) for kind in kinds}, name
    # Only what differs from the default is a change.
    off = {"novel_weight": 0.0} if novel_weight else {}
    assert rows["listwise"].changes == {"pointwise_weight": 0.0, **off}


def test_the_novel_loss_is_added_where_it_is_off_and_left_out_where_it_is_on(
    tmp_path: Path,
) -> None:
    without = {row.name: row for row in switch_rows(shop(tmp_path))}
    assert without["novel"].changes == {"novel_weight": 1.0}
    assert "without_novel" not in without
    with_it = {row.name: row for row in switch_rows(shop(tmp_path, novel_weight=0.5))}
    assert with_it["without_novel"].changes == {"novel_weight": 0.0}
    # What is left are the usual two losses: that is one row, not two.
    assert not {"novel", "pointwise_listwise"} & set(with_it)


def test_gains_grow_with_strength_whatever_the_order_of_the_heads(
    tmp_path: Path,
) -> None:
    rows = {row.name: row for row in switch_rows(shop(tmp_path))}
    gains = {"view": 1.0, "click": 2.0, "cart": 3.0}
    assert rows["graded"].changes == {"event_gains": gains}


def test_without_a_loss_of_order_there_are_no_gains(tmp_path: Path) -> None:
    graded = shop(tmp_path, event_gains={"cart": 2.0})
    rows = {row.name: row for row in switch_rows(graded)}
    assert rows["pointwise"].changes["event_gains"] == {}
    rows = {row.name: row for row in switch_rows(shop(tmp_path))}
    assert "event_gains" not in rows["pointwise"].changes
    alone = {"listwise_weight": 0.0, "novel_weight": 1.0, "event_gains": {"cart": 2.0}}
    config = shop(tmp_path, **alone)
    row = {row.name: row for row in switch_rows(config)}["without_novel"]
    assert row.changes == {"novel_weight": 0.0, "event_gains": {}}
    assert row.apply(config).ranking is not None  # It is not refused.


def test_searches_of_the_history_are_rows_where_it_is_longer_than_what_they_find(
    tmp_path: Path,
) -> None:
    def searches(length: int, **ranking: object) -> dict[str, Any]:
        config = shop(tmp_path, max_history_length=length, **ranking)
        rows = [row for row in switch_rows(config) if row.name.startswith("search_")]
        assert all(row.apply(config) != config for row in rows)
        return {row.name: row.changes for row in rows}

    assert searches(50) == searches(8, attention_length=10) == {}
    assert searches(51) == {
        "search_request": {"attention_length": 50},
        "search_candidate": {"attention_length": 50, "history_search": "candidate"},
    }
    # A configuration that searches already gets the other way.
    assert searches(20, attention_length=10) == {
        "search_candidate": {"history_search": "candidate"}
    }


def test_rows_about_shown_lists_need_a_head_that_they_teach(tmp_path: Path) -> None:
    data = {**SHOP, "target_event_types": SHOP["head_event_types"]}
    config = make_config(tmp_path, data=data, ranking={})
    names = {row.name for row in choose_rows(config)}
    assert not {"examination", "no_impressions", "unshown_negatives", "funnel"} & names
    assert "mmoe" in names


def test_funnel_is_of_heads_that_are_no_targets_in_order_of_strength(
    tmp_path: Path,
) -> None:
    rows = {row.name: row for row in switch_rows(shop(tmp_path))}
    assert rows["funnel"].changes == {"funnel": ("click", "cart")}


def test_rows_need_what_the_data_have(tmp_path: Path) -> None:
    names = {row.name for row in switch_rows(shop(tmp_path))}
    needy = {"dwell", "examination", "no_impressions", "mmoe", "graded"}
    needy |= {"unshown_negatives"}
    assert needy <= names
    assert "propensity" not in names  # The log has no such column.
    plain = {row.name for row in switch_rows(make_config(tmp_path))}
    assert not needy & plain
    assert "gated" in plain


def test_names_joined_by_plus_make_both_changes(tmp_path: Path) -> None:
    (_, row) = choose_rows(shop(tmp_path), ["gated+mmoe"])
    assert row.changes == {"fusion": "gated", "task_layers": "mmoe"}
    assert row.part == "combination"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["crass"], r"Received: \['crass'\]"),
        (["gated+bilinear"], "must set every field once"),
        (["gated", "gated"], r"twice: \['gated'\]"),
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
