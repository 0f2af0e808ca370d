"""Every sequence encoder and every loss learns what can be learned for certain."""

from pathlib import Path
from typing import get_args

import pytest

from tests.training.conftest import make_config
from tests.training.test_retrieval import hit_rate_at_1, train
from tfrec.config import RetrievalConfig, SequenceEncoderName
from tfrec.data.store import PreparedDataset

ENCODERS = [e for e in get_args(SequenceEncoderName) if e != "transformer"]
LOSSES = get_args(RetrievalConfig.model_fields["loss"].annotation)


def settings(path: Path, **changes: object) -> dict[str, object]:
    return {**make_config(path).retrieval.model_dump(), **changes}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_learns_the_cycle(
    encoder: str, cycle_dataset: PreparedDataset, tmp_path: Path
) -> None:
    retrieval = settings(tmp_path, encoder=encoder)
    model = train(cycle_dataset, tmp_path, retrieval=retrieval)
    assert hit_rate_at_1(model, cycle_dataset) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("loss", [x for x in LOSSES if "softmax" not in x])
def test_every_loss_learns_the_cycle(
    loss: str, cycle_dataset: PreparedDataset, tmp_path: Path
) -> None:
    retrieval = settings(tmp_path, loss=loss, num_sampled_negatives=16)
    model = train(cycle_dataset, tmp_path, retrieval=retrieval)
    assert hit_rate_at_1(model, cycle_dataset) >= 0.9
