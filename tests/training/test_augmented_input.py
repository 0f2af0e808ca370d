"""What may be asked of data augmentation, and that training hears of it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.training.conftest import make_config
from tfrec.augmentation_config import AugmentationConfig
from tfrec.data.batches import BatchBuilder
from tfrec.data.cloze import ClozeBatchBuilder
from tfrec.data.store import PreparedDataset
from tfrec.training.input import make_builder


def without_times(path: Path) -> dict:
    data = make_config(path).data.model_dump()
    return {**data, "event_columns": {**data["event_columns"], "timestamp": None}}


def test_ties_cannot_be_shuffled_where_there_are_no_times(tmp_path):
    data = without_times(tmp_path)
    wanted = {"augmentation": {"shuffle_ties": True}}
    with pytest.raises(ValidationError, match=r"event_columns\.timestamp.*all events"):
        make_config(tmp_path, data=data, retrieval=wanted)
    others = {"augmentation": {"crop_share": 0.5, "mask_share": 0.1}}
    config = make_config(tmp_path, data=data, retrieval=others)
    assert config.retrieval.augmentation.crop_share == 0.5


@pytest.mark.parametrize(
    "field", [{"crop_share": 1.1}, {"crop_min_length": 0.0}, {"mask_share": 1.0}]
)
def test_shares_out_of_range_are_errors(field):
    with pytest.raises(ValidationError, match=next(iter(field))):
        AugmentationConfig.model_validate(field)


@pytest.mark.parametrize("encoder", ["transformer", "bert4rec"])
def test_training_batches_are_built_as_configured(
    encoder: str, cycle_dataset: PreparedDataset, tmp_path: Path
) -> None:
    retrieval = {
        "encoder": encoder,
        "cloze_mask_share": 0.7,
        "cloze_last_share": 0.1,
        "augmentation": {"crop_share": 0.25, "crop_min_length": 0.75},
    }
    config = make_config(tmp_path, retrieval=retrieval)
    sequences = cycle_dataset.load_sequences()
    builder = make_builder(config, sequences, splits=("train",), num_replicas=1)
    assert builder.augmentation == config.retrieval.augmentation
    if encoder == "bert4rec":
        assert isinstance(builder, ClozeBatchBuilder)
        assert (builder.mask_share, builder.last_share) == (0.7, 0.1)
    else:
        assert type(builder) is BatchBuilder
