from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.training.conftest import FAST_RANKING, FAST_RETRIEVAL
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.prepare import prepare
from tfrec.training import run
from tfrec.training.data_warnings import missing_order_numbers


class _Trained(Exception):
    """Says that everything before the training is done."""


@pytest.fixture
def priceless(shop: Path, tmp_path: Path) -> ExperimentConfig:
    """A shop whose export lost the price of every item."""
    items = pd.read_parquet(shop.parent / "items.parquet")
    items["price"] = float("nan")
    items.to_parquet(tmp_path / "items.parquet")
    argv = ["--config", str(shop), *FAST_RETRIEVAL, *FAST_RANKING]
    argv += ["--data.items.paths", f"[{tmp_path / 'items.parquet'}]"]
    argv += ["--data.prepared_dir", str(tmp_path / "prepared")]
    argv += ["--run_dir", str(tmp_path / "run")]
    argv += ["--ranking.final_order.default", "ads"]
    return load_config(argv, description="")


def with_order(config: ExperimentConfig, **changes: Any) -> ExperimentConfig:
    values = config.model_dump()
    values["ranking"]["final_order"] |= changes.pop("final_order", {})
    values["export"] |= changes
    return ExperimentConfig.model_validate(values)


def test_training_tells_the_warnings_of_its_data(priceless, caplog, monkeypatch):
    def fail(*_: object) -> None:
        raise _Trained

    monkeypatch.setattr(run, "train_models", fail)
    for _ in range(2):  # Prepared just now, and before.
        caplog.clear()
        with pytest.raises(_Trained):
            run.train(priceless)
        told = "Warning: `data.item_attributes.price` should name a column"
        assert told in caplog.text
        assert "has no usable one in" in caplog.text
        assert "'ads', 'purchase * price', and none of the" in caplog.text
        assert all(record.levelname == "WARNING" for record in caplog.records)


def test_numbers_that_the_default_formula_lacks_are_named(priceless):
    dataset = prepare(priceless)
    number = len(dataset.items)
    (warning,) = missing_order_numbers(priceless, dataset)
    assert f"none of the {number} items has a `price`: it counts as 0" in warning
    assert "`data.item_attributes.price`" in warning
    filled = with_order(priceless, final_order={"missing_values": {"price": 2.5}})
    (warning,) = missing_order_numbers(filled, dataset)
    assert "counts as 2.5" in warning
    # The formula does not read it, or requests bring the number.
    plain = with_order(priceless, final_order={"default": "recommend"})
    assert missing_order_numbers(plain, dataset) == []
    bids = with_order(priceless, rules=["bids"])
    assert missing_order_numbers(bids, dataset) == []
    without = priceless.model_copy(update={"ranking": None})
    assert missing_order_numbers(without, dataset) == []


def test_numbers_that_some_item_has_are_no_warning(priceless, shop, tmp_path):
    items = pd.read_parquet(shop.parent / "items.parquet")
    items.loc[1:, "price"] = float("nan")
    items.to_parquet(tmp_path / "items.parquet")
    assert missing_order_numbers(priceless, prepare(priceless)) == []
