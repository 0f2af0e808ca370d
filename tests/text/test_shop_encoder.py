"""What the encoder of a shop learns from, and what the seed of a run decides."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from tests.synthetic import make_sequences
from tests.text.test_shop_texts import Letters
from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.text import shop_encoder
from tfrec.text.shop_texts import ShopTexts, load_shop_texts
from tfrec.text_config import TextConfig

TITLES = ["desk lamp with dimmer", "", "oak chair", "red wool sock"]


class Asked:
    """Stands in for `build_text_encoder`, and keeps what it was called with."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.folder = Path()
        self.seed = -1

    def __call__(
        self,
        settings: Any,
        *,
        texts: Callable[[], Sequence[str]],
        scratch_dir: Path,
        seed: int,
    ) -> Letters:
        self.texts, self.folder, self.seed = list(texts()), scratch_dir, seed
        return Letters()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(shop_encoder, "build_text_encoder", asked)
    return asked


def config(seed: int = 0) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "name": "toy",
            "seed": seed,
            "data": {
                "events": {"paths": ["unused.csv"]},
                "split": {"protocol": "leave_one_out"},
            },
            "text": {"encoder": "scratch", "model": None},
        }
    )


def dataset(path: Path, hidden: Sequence[int] = ()) -> PreparedDataset:
    is_hidden = np.zeros(2 + len(TITLES), bool)
    is_hidden[list(hidden)] = True
    return cast(
        PreparedDataset,
        SimpleNamespace(
            items=pa.table({"item_id": list("abcd"), "title": TITLES}),
            schema=config().experiment_schema,
            path=path,
            is_hidden=is_hidden,
        ),
    )


def sequences(queries: Sequence[str] = ("",) * 5) -> EventSequences:
    events = make_sequences([[0, 1, 2], [3, 0]], splits=[[0, 1, 2], [0, 2]])
    events.query_text[:] = queries
    return events


def load(path: Path, *, seed: int = 0, hidden: Sequence[int] = ()) -> ShopTexts:
    texts = load_shop_texts(config(seed), dataset(path, hidden), sequences())
    assert texts is not None
    return texts


def test_it_learns_from_items_and_the_searches_of_training(
    asked: Asked, tmp_path: Path
) -> None:
    events = sequences(["lamp", "validated", "tested", "sock", "lamp later"])
    load_shop_texts(config(), dataset(tmp_path), events)
    known = ["desk lamp with dimmer", "oak chair", "red wool sock"]
    assert asked.texts == [*known, "lamp", "sock"]


def test_it_learns_nothing_of_hidden_items_and_is_kept_apart(
    asked: Asked, tmp_path: Path
) -> None:
    load(tmp_path)
    folder = asked.folder
    load(tmp_path, hidden=[2, 5])
    assert asked.texts == ["oak chair"]
    without = asked.folder
    load(tmp_path, hidden=[2, 4])
    assert len({folder, without, asked.folder}) == 3


def test_trained_models_are_not_given_another_encoder(
    asked: Asked, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="Train the run again"):
        load_shop_texts(config(), dataset(tmp_path), sequences(), is_trained=True)


def test_pseudo_searches_are_words_of_titles_not_of_markup(
    asked: Asked, tmp_path: Path
) -> None:
    marked = dataset(tmp_path)
    titles = ['<p class="big" id=x>Red&nbsp;lamp</p>', "Oak<br>chair", "<br>", ""]
    marked.items = pa.table({"item_id": list("abcd"), "title": titles})
    texts = load_shop_texts(config(), marked, sequences())
    assert texts is not None
    assert texts.pseudo_searches is not None
    for search, title in zip(
        texts.pseudo_searches, ["", "", "Red lamp", "Oak chair", "", ""], strict=True
    ):
        assert search in title
        assert bool(search) == bool(title)


def test_the_seed_of_a_run_reaches_adapters_and_pseudo_searches(
    asked: Asked, tmp_path: Path
) -> None:
    found = []
    for seed in (7, 7, 8):
        pseudo = load(tmp_path, seed=seed).pseudo_searches
        assert pseudo is not None
        found.append(pseudo.tolist())
        assert asked.seed == seed
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_single_sequences_have_one_length_for_all_texts(tmp_path: Path) -> None:
    built = []

    def build(settings: Any, **kwargs: Any) -> Letters:
        built.append(settings.max_length)
        return Letters()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shop_encoder, "build_text_encoder", build)
        for sequence in ("none", "multi", "single"):
            text = TextConfig(
                encoder="scratch",
                model=None,
                max_length=12,
                sequence=sequence,
                sequence_tokens=16,
            )
            shop_encoder.build_shop_encoder(text, dataset(tmp_path), list, seed=0)
    assert built == [12, 12, 16]


def test_a_budget_below_the_length_of_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="`text.sequence_tokens`.*8 and 12"):
        TextConfig(
            encoder="scratch", sequence="single", sequence_tokens=8, max_length=12
        )


@pytest.mark.parametrize("encoder", ["word_vectors", "transformers", "scratch"])
def test_training_without_any_title_is_warned_of_whatever_the_encoder(
    asked: Asked, tmp_path: Path, caplog: pytest.LogCaptureFixture, encoder: str
) -> None:
    empty = dataset(tmp_path)
    empty.items = pa.table({"item_id": list("abcd"), "title": [None, None, "", ""]})
    values = config().model_dump(mode="json")
    values["text"] |= {"encoder": encoder, "model": TextConfig().model}
    settings = ExperimentConfig.model_validate(values)
    load_shop_texts(settings, empty, sequences())
    assert "No item has a text" in caplog.text
    caplog.clear()
    load_shop_texts(settings, dataset(tmp_path), sequences())  # With titles.
    assert not caplog.records


@pytest.mark.parametrize("model", [None, TextConfig().model])
def test_an_encoder_of_its_own_has_no_model(model: str | None) -> None:
    TextConfig(encoder="scratch", model=model)
    with pytest.raises(ValueError, match="must not be set.*Received: model='bert'"):
        TextConfig(encoder="scratch", model="bert")
