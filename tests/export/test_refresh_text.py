"""Refreshes of models whose encoder was trained, or reads histories as one text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.refresh import refresh
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
from tests.text.helpers import write_tiny_bert
from tfrec.config import ExperimentConfig
from tfrec.schema import SignatureName
from tfrec.text.shop_encoder import build_shop_encoder
from tfrec.training import refreshed
from tfrec.training.run import load_recommender, train

TEXTS = {
    "single": {"sequence": "single"},
    "last_layers": {"training": "last_layers", "num_trained_layers": 1},
    "adapters": {"training": "adapters", "adapter_rank": 2, "sequence": "multi"},
    "full": {"training": "full"},
}
NEW = [item_row(30, kind="lamp"), {**item_row(4, kind="mug"), "title": "blue sock"}]
UNCHANGED = [f"i{n}" for n in range(NUM_ITEMS) if n != 4]


def text_config(folder: Path, name: str) -> ExperimentConfig:
    config = shop_config(folder, has_text=True).model_dump(mode="json")
    config["text"] = {
        "model": str(folder / "bert"),
        "max_length": 12,
        "sequence_tokens": 16,
        # Great, so that a few steps move the encoder.
        "learning_rate": 0.01,
        **TEXTS[name],
    }
    config["ranking"] = None
    config["run_dir"] = str(folder / name)
    config["training"]["retrieval"]["max_epochs"] = 1
    config["training"]["retrieval"]["min_steps_per_epoch"] = 3
    return ExperimentConfig.model_validate(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    write_tiny_bert(folder / "bert")
    return folder


SLOW = ("last_layers", "full")  # A training each; `adapters` go the same way.


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in TEXTS
    ],
)
def run(folder: Path, request: pytest.FixtureRequest) -> Run:
    config = text_config(folder, request.param)
    train(config)
    return Run(config.run_path, *load_recommender(config.run_path))


@pytest.fixture(scope="module")
def before(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(run, tmp_path_factory.mktemp("before") / "assets")


@pytest.fixture(scope="module")
def after(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(run, tmp_path_factory.mktemp("after") / "assets", NEW)


def text_rows(served: Served, items: list[str]) -> np.ndarray:
    rows = np.asarray(served.recommender.retrieval.candidate_tower.text_rows)[2:]
    return rows[places(served, items)]


def places(served: Served, items: list[str]) -> list[int]:
    return [served.dataset.item_vocabulary.tokens.index(item) for item in items]


def test_unchanged_items_keep_their_vectors_and_scores(before, after):
    one, two = (text_rows(served, UNCHANGED) for served in (before, after))
    np.testing.assert_array_equal(two, one)
    one, two = (
        served.recommender.candidate_embeddings().numpy()[places(served, UNCHANGED)]
        for served in (before, after)
    )
    np.testing.assert_array_equal(two, one)
    for events in ((), (0, 3, 9), (1, 2)):
        scores = [
            s.ranked(SignatureName.RETRIEVE, **history(*events))
            for s in (before, after)
        ]
        assert len(scores[1]) == len(scores[0]) + 1
        for item in UNCHANGED:
            # Not bit by bit: a product over more columns may sum in another order.
            assert scores[1][item] == pytest.approx(scores[0][item], abs=2e-5)


def test_new_and_changed_items_are_read_by_the_encoder_as_it_was_trained(run, after):
    encoder = run.recommender.text_encoder
    expected = encoder.encode(tf.constant([row["title"] for row in NEW])).numpy()
    found = text_rows(after, [row["item_id"] for row in NEW])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # As it was loaded, before it was trained, it reads otherwise.
    loaded = build_shop_encoder(run.config.text, run.dataset, list, seed=0)
    untrained = loaded.encode(tf.constant([row["title"] for row in NEW])).numpy()
    is_trained = run.config.text.training != "frozen"
    assert (np.abs(untrained - expected).max() > 1e-3) == is_trained


def test_only_new_and_changed_texts_are_encoded(run, tmp_path, monkeypatch):
    encoded: list[str] = []

    def encode(encoder: Any, texts: list[str], **options: Any) -> np.ndarray:
        encoded.extend(texts)
        return np.zeros((len(texts), encoder.text_dim), np.float32)

    monkeypatch.setattr(refreshed, "encode_cached", encode)
    Served(run, tmp_path / "assets", NEW)
    assert encoded == ["blue sock", NEW[0]["title"]]


def test_served_text_is_the_projection_of_what_the_encoder_gave(after):
    found = after.call(SignatureName.EMBED_TEXT, text="blue sock")["embedding"]
    projection = after.recommender.retrieval.candidate_tower.text_projection
    mean, kernel = projection.mean.numpy(), projection.kernel.numpy()
    (row,) = text_rows(after, ["i4"])  # Its title since the refresh.
    projected = (row - mean) @ kernel
    expected = projected / np.linalg.norm(projected)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_refreshed_version_passes_the_gates(run, tmp_path):
    items = write_items(tmp_path / "new.csv", NEW)
    report = refresh(run.path, items=items, model_dir=tmp_path / "models")
    assert (report.change.num_added, report.change.num_changed) == (1, 1)
    assert report.export is not None
    assert [gate.name for gate in report.export.gates] == [
        "known ops",
        "parity",
        "warm-up",
    ]
