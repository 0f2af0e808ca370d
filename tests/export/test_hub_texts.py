"""A text encoder in TF-Hub's format: trained with, exported, read from the graph."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.exporter import export_with_report
from export.loaded_model import LoadedModel
from tests.export.small_shop import shop_config, write_shop
from tests.text.helpers import write_vocabulary
from tests.text.test_hub_encoder import Preprocessor, encoder_model
from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.training.run import train_models
from tfrec.training.strategies import make_strategy


def hub_config(folder: Path) -> ExperimentConfig:
    values = shop_config(folder, has_text=True).model_dump(mode="json")
    values["text"] = {
        "encoder": "tf_hub",
        "model": str(folder / "encoder"),
        "preprocessor": str(folder / "preprocessor"),
        "max_length": 8,
    }
    values["ranking"] = None
    values["training"]["retrieval"] |= {"max_epochs": 1, "min_steps_per_epoch": 3}
    return ExperimentConfig.model_validate(values)


@pytest.mark.slow
def test_a_model_is_trained_exported_and_reads_searches(tmp_path: Path) -> None:
    write_shop(tmp_path)
    write_vocabulary(tmp_path)
    preprocessor = Preprocessor(tmp_path / "vocab.txt")
    tf.saved_model.save(preprocessor, str(tmp_path / "preprocessor"))
    tf.saved_model.save(encoder_model(), str(tmp_path / "encoder"))
    config = hub_config(tmp_path)
    config.run_path.mkdir(parents=True)
    dataset = prepare(config)
    # Not `train`: what evaluation adds takes long, and is the same for all encoders.
    recommender = train_models(config, dataset, make_strategy(config.training))
    report = export_with_report(recommender, dataset, config)
    assert [gate.name for gate in report.gates] == ["known ops", "parity", "warm-up"]
    texts = np.array(["red <b>shoe</b>", "blue sock", ""], object)
    with LoadedModel(report.path) as model:
        served = model.call("embed_text", {"text": texts})["embedding"]
    expected = recommender.text_embeddings(tf.constant(texts.tolist()))
    np.testing.assert_allclose(served, expected, atol=1e-5)
    assert np.linalg.norm(served, axis=1).tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert served[0] @ served[1] < 0.999
