"""What the pages about ranking show in Python runs as it stands, on a trained run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import configure_shop
from tfrec.data.prepare import prepare
from tfrec.run_record import write_run_record
from tfrec.training.run import train_models

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


def snippet(page: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.S)
    return code


@pytest.fixture(scope="module")
def names(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("snippets") / "my_shop"
    more = ("--ranking.fusion", "weighted", "--training.finetune_epochs", "0")
    more += ("--training.ranking.max_epochs", "1")
    config = configure_shop(shop, path, *more, "--training.retrieval.max_epochs", "1")
    write_run_record(config)
    train_models(config, prepare(config), tf.distribute.get_strategy())
    code = snippet("ranking_tasks.md")
    assert code.count('"runs/my_shop"') == 1
    found: dict[str, Any] = {}
    exec(code.replace('"runs/my_shop"', repr(str(path))), found)
    return found


def test_forecast_of_a_trained_run_is_asked_as_the_page_says(names: dict[str, Any]):
    forecast = names["forecast"]
    heads = {f"{t}_probability" for t in ("view", "click", "cart", "purchase")}
    assert forecast.expected_items.keys() == forecast.probabilities.keys() == heads
    bought = forecast.probabilities["purchase_probability"].numpy()
    assert bought.shape == (4,)
    assert ((bought > 0) & (bought < 1)).all()


def test_weights_of_fields_are_asked_as_the_page_says(names: dict[str, Any], capsys):
    exec(snippet("fusion.md"), names)
    weights = names["found"].weights.numpy()
    assert weights.shape == (4, 2, len(names["found"].names))
    np.testing.assert_allclose(weights.sum(axis=2), np.ones((4, 2)), rtol=1e-5)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == names["item_ids"]
    assert "'item_price'" in printed[0]
