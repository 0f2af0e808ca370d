"""A search of words that the encoder does not know is answered as none."""

from pathlib import Path

import pytest

from tests.export.small_shop import Run, Served, history, shop_config, write_shop
from tests.text.helpers import write_tiny_bert
from tfrec.config import ExperimentConfig
from tfrec.schema import SignatureName
from tfrec.training.run import load_recommender, train


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder: Path = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    config = shop_config(folder, has_text=True).model_dump(mode="json")
    bert = write_tiny_bert(folder / "bert")
    config["text"] = {"model": str(bert), "max_length": 12}
    config["ranking"] = None
    config["training"]["retrieval"]["max_epochs"] = 1
    config = ExperimentConfig.model_validate(config)
    train(config)
    run = Run(config.run_path, *load_recommender(config.run_path))
    return Served(run, folder / "assets")


@pytest.mark.parametrize("events", [(), (0, 3, 9)])
def test_an_unknown_search_gives_the_list_of_no_search(served, events):
    def ranked(text: str) -> dict[str, float]:
        asked = history(*events)
        return served.ranked(SignatureName.RETRIEVE, query_text=text, **asked)

    nothing = ranked("")
    for text in ("😀", "台灯", "<b>😀</b>"):
        found = ranked(text)
        assert list(found) == list(nothing)
        assert list(found.values()) == pytest.approx(list(nothing.values()), abs=1e-5)
    assert list(ranked("red lamp 😀")) != list(nothing)
