"""A run is read with the text encoder that it was trained on, or not at all."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from export.refresh import refresh
from tests.export.small_shop import (
    WORDS,
    item_row,
    shop_config,
    write_items,
    write_shop,
)
from tests.text.helpers import write_tiny_bert
from tfrec import evaluate
from tfrec.config import ExperimentConfig
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig
from tfrec.training.run import load_recommender, train


def quick_config(folder: Path) -> ExperimentConfig:
    config = shop_config(folder, has_text=True).model_dump(mode="json")
    config["ranking"] = None
    config["training"]["retrieval"]["max_epochs"] = 1
    config["training"]["retrieval"]["min_steps_per_epoch"] = 3
    return ExperimentConfig.model_validate(config)


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    write_shop(tmp_path)
    config = quick_config(tmp_path)
    train(config)
    return config


def write_other_vectors(path: Path) -> None:
    """The same words, with each other's vectors."""
    lines = np.roll(np.eye(len(WORDS), dtype=int), 1, axis=0)
    rows = [" ".join(map(str, line)) for line in lines]
    path.write_text("".join(f"{w} {r}\n" for w, r in zip(WORDS, rows, strict=True)))


def test_another_encoder_of_the_same_width_is_refused(
    config: ExperimentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = config.run_path
    noted = json.loads((run / "encoder.json").read_text())["encoder_hash"]
    recommender, _, _ = load_recommender(run)
    assert recommender.text_encoder is not None
    assert recommender.text_encoder.encoder_hash == noted
    write_other_vectors(tmp_path / "words.txt")
    match = f"of the hash {noted}. Received: word_vectors .*words.txt' of the hash"
    with pytest.raises(ValueError, match=match):
        load_recommender(run)
    assert evaluate.main(["--run", str(run)]) == 1
    assert "train the run again" in capsys.readouterr().err
    items = write_items(tmp_path / "new.csv", [item_row(30)])
    with pytest.raises(ValueError, match=match):
        refresh(run, items=items)
    # Nor does an interrupted training go on with it.
    (run / "retrieval" / "finished.json").unlink()
    with pytest.raises(ValueError, match=match):
        train(config)


def test_runs_older_than_the_record_are_read_with_a_warning(
    config: ExperimentConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_recommender(config.run_path)
        assert "text encoder" not in caplog.text
        (config.run_path / "encoder.json").unlink()
        load_recommender(config.run_path)
    assert "does not say which text encoder" in caplog.text


@pytest.mark.parametrize("training", ["frozen", "last_layers", "adapters", "full"])
def test_hash_is_of_the_encoder_before_it_is_trained(
    tmp_path: Path, training: str
) -> None:
    folder = write_tiny_bert(tmp_path)

    def build(training: str, seed: int = 0) -> str | None:
        settings = {"model": str(folder), "max_length": 12, "training": training}
        config = TextConfig.model_validate({**settings, "num_trained_layers": 1})
        encoder = build_text_encoder(
            config, texts=list, scratch_dir=tmp_path, seed=seed
        )
        before = encoder.loaded_hash
        encoder.weights[0].assign_add(encoder.weights[0] + 1.0)
        assert encoder.loaded_hash == before
        assert encoder.encoder_hash != before
        return before

    assert build(training, seed=3) == build("frozen")
