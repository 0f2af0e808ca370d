"""Encoders that cannot split texts in the graph: trained, exported, refreshed."""

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.exporter import export_with_report
from export.refresh import refresh
from tests.export.searching_shop import text_for
from tests.export.small_shop import (
    NUM_ITEMS,
    Run,
    Served,
    history,
    item_row,
    shop_config,
    write_items,
    write_shop,
)
from tests.text.helpers import write_tiny_roberta
from tfrec.config import ExperimentConfig
from tfrec.schema import QUERY_TEXT, SignatureName
from tfrec.text.encoder_checks import check_reads_requests
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig
from tfrec.training.run import load_recommender, train

NEW = [item_row(30, kind="lamp"), {**item_row(4), "title": "a blue sock"}]
GATES = ["known ops", "parity", "warm-up"]


def add_searches(path: Path) -> None:
    """Says of every event what was searched for before it."""
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("user_id", "item_id", "timestamp", "query"))
        writer.writerows([*row, text_for(int(row[1][1:]))] for row in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    add_searches(folder / "events.csv")
    titles = [item_row(number)["title"] for number in range(NUM_ITEMS)]
    write_tiny_roberta(folder / "roberta", titles)
    return folder


def roberta_config(folder: Path, **text: Any) -> ExperimentConfig:
    values = shop_config(folder, has_text=True).model_dump(mode="json")
    values["text"] = {"model": str(folder / "roberta"), "max_length": 12, **text}
    values["data"]["event_columns"]["query"] = "query"
    values["ranking"] = None
    values["training"]["retrieval"] |= {"max_epochs": 1, "min_steps_per_epoch": 3}
    values["run_dir"] = str(folder / f"run_{text.get('training', 'frozen')}")
    return ExperimentConfig.model_validate(values)


@pytest.fixture(
    scope="module", params=["frozen", pytest.param("adapters", marks=pytest.mark.slow)]
)
def run(folder: Path, request: pytest.FixtureRequest) -> Run:
    config = roberta_config(folder, training=request.param, adapter_rank=2)
    metrics = train(config)
    assert "search" not in metrics
    return Run(config.run_path, *load_recommender(config.run_path))


def text_rows(recommender: Any) -> np.ndarray:
    return np.asarray(recommender.retrieval.candidate_tower.text_rows)[2:]


def test_a_trained_model_is_exported_and_refreshed(run: Run, tmp_path: Path) -> None:
    assert text_rows(run.recommender).any(axis=1).all()
    report = export_with_report(run.recommender, run.dataset, run.config)
    assert [gate.name for gate in report.gates] == GATES
    # As that of a model without texts.
    assert set(SignatureName) - set(report.schema.signatures) == {
        SignatureName.EMBED_TEXT
    }
    changed = refresh(run.path, items=write_items(tmp_path / "new.csv", NEW))
    assert changed.export is not None
    assert [gate.name for gate in changed.export.gates] == GATES
    assert changed.export.schema == report.schema


def test_only_new_and_changed_texts_move_in_a_refresh(run: Run, tmp_path: Path) -> None:
    before = text_rows(run.recommender)
    after = text_rows(Served(run, tmp_path / "assets", NEW).recommender)
    moved = np.flatnonzero((before != after[:NUM_ITEMS]).any(axis=1))
    assert [run.dataset.item_vocabulary.tokens[row] for row in moved] == ["i4"]
    assert after[NUM_ITEMS].any()


def test_a_search_changes_nothing(run: Run, tmp_path: Path) -> None:
    served = Served(run, tmp_path / "assets")
    plain, searching = (
        served.ranked(SignatureName.RETRIEVE, **history(1, 5), **{QUERY_TEXT: text})
        for text in ("", "red lamp")
    )
    assert searching == plain


def test_what_cannot_be_read_is_refused_before_training(folder: Path) -> None:
    single = roberta_config(folder, sequence="single", sequence_tokens=16)
    single = single.model_copy(update={"run_dir": folder / "refused"})
    with pytest.raises(ValueError, match="`text.sequence=single` need.*no WordPiece"):
        train(single)
    assert not (folder / "refused" / "retrieval").exists()


def test_a_declared_search_is_refused_and_others_are_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = TextConfig(model=str(folder / "roberta"), max_length=12)
    encoder = build_text_encoder(text, texts=list, scratch_dir=folder)
    with caplog.at_level(logging.WARNING):
        assert not check_reads_requests(roberta_config(folder), encoder)
    (record,) = caplog.records
    assert "no search is read" in record.getMessage()
    searching = roberta_config(folder)
    data = searching.data.model_copy(update={"search_event_type": "search"})
    searching = searching.model_copy(update={"data": data})
    with pytest.raises(ValueError, match="`data.search_event_type=search` need"):
        check_reads_requests(searching, encoder)
