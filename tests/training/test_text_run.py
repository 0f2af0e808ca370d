"""From a shop's words to a served search: Chinese titles, an encoder of its own."""

import json

import numpy as np
import pytest

from export.exporter import export_model
from export.loaded_model import LoadedModel
from export.requests import batch_rows
from tests.training.conftest import configure_shop
from tfrec.compare_encoders import main as compare_encoders
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.simulator import simulate, sized_config
from tfrec.schema import EMBEDDING, ITEM_IDS, SCORES, TEXT, SignatureName
from tfrec.training.run import load_recommender, train

pytestmark = pytest.mark.slow

TEXT_OPTIONS = [
    *("--text.encoder", "scratch", "--text.model", "null"),
    *("--text.fields", "[title, brand]", "--text.max_length", "16"),
    *("--text.scratch.hidden_dim", "16", "--text.scratch.max_steps", "30"),
    *("--text.scratch.vocabulary_size", "500", "--retrieval.id_dropout", "0.2"),
]


@pytest.fixture(scope="module")
def chinese_run(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    path = tmp_path_factory.mktemp("chinese")
    settings = sized_config("tiny", seed=2).model_copy(update={"language": "zh"})
    shop = simulate(settings, path / "shop").config_path
    config = configure_shop(shop, path / "run", *TEXT_OPTIONS)
    train(config)
    return config


def test_a_chinese_shop_is_searched_in_chinese(chinese_run):
    metrics = json.loads((chinese_run.run_path / "metrics.json").read_text())
    search = metrics["search"]["scorers"]
    assert list(search) == [
        "ranking",
        "ranking, order search",
        "retrieval",
        "ranking, without history",
        "retrieval, without history",
        "bm25",
    ]
    recommender, dataset, config = load_recommender(chinese_run.run_path)
    version = export_model(recommender, dataset, config)
    title = dataset.items["title"][3].as_py()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in title)
    rows = [{"query_text": title, "k": 5}, {"query_text": "", "k": 5}]
    schema = config.experiment_schema
    with LoadedModel(version) as model:

        def ask(signature: SignatureName, *asked: dict) -> dict[str, np.ndarray]:
            request = batch_rows(schema, signature, asked)
            return model.call(signature.value, request.inputs)

        together = ask(SignatureName.RETRIEVE, *rows)
        alone = ask(SignatureName.RETRIEVE, rows[1])
        vectors = ask(SignatureName.EMBED_TEXT, {TEXT: title}, {TEXT: "  "})
    # A search changes the answer, and that of the request beside it not at all.
    assert together[ITEM_IDS][0].tolist() != together[ITEM_IDS][1].tolist()
    np.testing.assert_allclose(together[SCORES][1], alone[SCORES][0], atol=1e-4)
    assert np.linalg.norm(vectors[EMBEDDING][0]) == pytest.approx(1.0, abs=1e-4)
    assert not vectors[EMBEDDING][1].any()


def test_single_sequences_and_trained_encoders_run_from_end_to_end(shop, tmp_path):
    for name, more in {
        "single": ["--text.sequence", "single", "--text.sequence_tokens", "24"],
        "trained": ["--text.training", "full", "--text.num_fresh_items", "8"],
    }.items():
        options = [*TEXT_OPTIONS, *more, "--training.retrieval.max_epochs", "1"]
        config = configure_shop(
            shop, tmp_path / name, *options, without_ranking=True
        ).model_copy(update={"ranking": None})
        metrics = train(config)
        again, dataset, config = load_recommender(config.run_path)
        assert export_model(again, dataset, config).is_dir()
        assert metrics["search"]["num_queries"] > 0


def test_encoders_are_compared_on_known_hidden_and_searched_items(
    shop, tmp_path, capsys
):
    config = configure_shop(shop, tmp_path / "run", *TEXT_OPTIONS)
    folder = tmp_path / "encoders"
    argv = ["--config", str(shop), *TEXT_OPTIONS, "--folder", str(folder)]
    argv += ["--data.prepared_dir", str(config.prepared_path), "--name", "compared"]
    argv += ["--training.retrieval.max_epochs", "1", "--hidden_share", "0.2"]
    argv += ["--retrieval.embedding_dim", "8", "--retrieval.max_history_length", "8"]
    argv += ["--encoders", "none", "scratch", "--out", str(tmp_path / "table.md")]
    assert compare_encoders(argv) == 0
    rows = json.loads((folder / "comparison.json").read_text())
    assert list(rows) == ["none", "scratch"]
    assert rows["none"]["parameters"] is None
    assert rows["scratch"]["parameters"] > 1_000
    for row in rows.values():
        assert 0.0 < row["NDCG@10"] < 1.0
        assert row["cold_Recall@10"] is not None
        assert row["ms_per_request"] > 0.0
    assert rows["none"]["ms_per_search"] is None
    assert rows["scratch"]["search_NDCG@10"] > 0.0
    table = (tmp_path / "table.md").read_text()
    assert "scratch" in table
    assert "| ms | ms a request | MB |" in table
    written = json.loads((tmp_path / "table.json").read_text())
    assert written["encoders"] == rows
    assert "20% of the items hidden" in capsys.readouterr().out


def test_word_vectors_need_a_file(shop, tmp_path, capsys):
    argv = ["--config", str(shop), "--folder", str(tmp_path)]
    assert compare_encoders([*argv, "--encoders", "word_vectors"]) == 1
    assert "--word_vectors FILE" in capsys.readouterr().err


def test_a_trained_encoder_and_joined_histories_do_not_go_together(shop):
    argv = ["--config", str(shop), *TEXT_OPTIONS, "--text.sequence", "single"]
    with pytest.raises(SystemExit):
        load_config([*argv, "--text.training", "full"], description="")


def test_a_mistyped_encoder_may_be_corrected(shop, tmp_path):
    for name in ("no/such/folder", "another/that/is/not/there"):
        model = str(tmp_path / name)
        options = ["--text.encoder", "transformers", "--text.model", model]
        config = configure_shop(shop, tmp_path / "run", *options)
        with pytest.raises((OSError, ValueError), match=name):
            train(config)
