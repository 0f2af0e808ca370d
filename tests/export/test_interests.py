"""A model whose queries are several vectors: trained, exported, refreshed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.exporter import export_with_report
from export.loaded_model import LoadedModel
from export.requests import batch_rows
from tests.export.small_shop import (
    NUM_ITEMS,
    Run,
    Served,
    history,
    item_row,
    shop_config,
    write_shop,
)
from tests.models.toys import request
from tfrec.config import ExperimentConfig
from tfrec.schema import (
    EMBEDDING,
    ITEM_IDS,
    NUM_SPECIAL_INDICES,
    RETRIEVAL_SCORES,
    SignatureName,
)
from tfrec.training.run import load_recommender, train

NUM_INTERESTS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """With text, searches and ranking."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    config = shop_config(folder, has_text=True).model_dump(mode="json")
    config["retrieval"]["num_interests"] = NUM_INTERESTS
    config["retrieval"]["repeat_bias"] = "on"
    config["ranking"] |= {"attention_length": 3, "history_search": "request"}
    config["training"]["retrieval"]["max_epochs"] = 2
    config = ExperimentConfig.model_validate(config)
    train(config)
    return Run(config.run_path, *load_recommender(config.run_path))


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The written version; all gates were passed, or there is none."""
    report = export_with_report(
        run.recommender,
        run.dataset,
        run.config,
        model_dir=tmp_path_factory.mktemp("model"),
    )
    with LoadedModel(report.path) as model:
        yield report, model


def ask(exported: Any, signature: SignatureName, **row: Any) -> dict[str, np.ndarray]:
    report, model = exported
    request = batch_rows(report.schema, signature, [row])
    return model.call(signature.value, request.inputs)


def test_an_exported_query_is_one_vector_an_interest(exported):
    row = history(3, 7, 2)
    embedding = ask(exported, SignatureName.EMBED_QUERY, **row)[EMBEDDING]
    assert embedding.shape == (1, NUM_INTERESTS, 16)
    norms = np.linalg.norm(embedding, axis=2)
    np.testing.assert_allclose(norms, np.ones((1, NUM_INTERESTS)), rtol=1e-5)
    searching = ask(exported, SignatureName.EMBED_QUERY, **row, query_text="blue lamp")
    moved = np.abs(searching[EMBEDDING] - embedding).max(axis=2)
    assert (moved > 1e-3).all(), "a search must reach every interest"


def test_what_is_retrieved_are_the_best_items_of_any_interest(run, exported):
    row = history(3, 7, 2)
    (vectors,) = ask(exported, SignatureName.EMBED_QUERY, **row)[EMBEDDING]
    found = ask(exported, SignatureName.RETRIEVE, k=NUM_ITEMS, **row)
    retrieval = run.recommender.retrieval
    products = vectors @ retrieval.candidate_embeddings().numpy().T
    logits = products.max(axis=0) / np.exp(retrieval.log_temperature.numpy())
    logits += retrieval.item_bias().numpy()
    ids = run.dataset.item_vocabulary.tokens
    known = [ids.index(f"i{number}") for number in (3, 7, 2)]
    # What their texts are compared by is no part of the vectors.
    asked = request([[n + NUM_SPECIAL_INDICES for n in known]])
    match = run.recommender.encode(asked).match
    texts = retrieval.candidate_keys()[:, vectors.shape[1] :]
    logits += tf.linalg.matvec(texts, match[0]).numpy()
    scores = dict(zip(found[ITEM_IDS][0], found["scores"][0], strict=True))
    # Items of the history have a bias of their own; others differ by a constant.
    others = [n for n in range(NUM_ITEMS) if n not in known]
    served = np.array([scores[ids[n].encode()] for n in others])
    np.testing.assert_allclose(
        served - served.max(), logits[others] - logits[others].max(), atol=1e-4
    )


def test_the_ranker_answers_for_what_was_retrieved(exported):
    found = ask(exported, SignatureName.RECOMMEND, k=5, **history(3, 7, 2))
    assert np.isfinite(found[RETRIEVAL_SCORES]).all()
    assert (found["event_probability"] > 0).all()
    ids = [item.decode() for item in found[ITEM_IDS][0]]
    ranked = ask(
        exported, SignatureName.RANK, candidate_item_ids=ids, **history(3, 7, 2)
    )
    np.testing.assert_allclose(ranked["scores"], found["scores"], atol=1e-5)


def test_unchanged_items_keep_their_scores_when_the_catalogue_is_refreshed(
    run, tmp_path
):
    before = Served(run, tmp_path / "before")
    rows = [item_row(number) for number in range(NUM_ITEMS)]
    rows[4] = {**item_row(4, kind="mug"), "title": "blue mug no39"}
    after = Served(run, tmp_path / "after", [*rows, item_row(30)])
    row = history(3, 7, 2)
    old, new = (s.ranked(SignatureName.RETRIEVE, **row) for s in (before, after))
    assert set(new) - set(old) == {"i30"}
    unchanged = [item for item in old if item != "i4"]
    np.testing.assert_allclose(
        [new[item] for item in unchanged], [old[item] for item in unchanged], atol=1e-5
    )
    assert abs(new["i4"] - old["i4"]) > 1e-3
    vectors = [
        s.call(SignatureName.EMBED_QUERY, **row)[EMBEDDING] for s in (before, after)
    ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)


def test_the_schema_of_the_version_says_that_a_query_is_several_vectors(exported):
    report, _ = exported
    (embedding,) = report.schema.signature_outputs(SignatureName.EMBED_QUERY)
    assert embedding.shape == ("num_interests", "embedding_dim")


def test_the_run_holds_weights_of_the_interests(run: Run):
    tower = run.recommender.retrieval.query_tower
    assert tower.interests is not None
    start = np.tile(np.eye(16), (NUM_INTERESTS, 1, 1))
    assert np.abs(tower.interests.kernel.numpy() - start).max() > 1e-2
    assert Path(run.path, "ranking").is_dir()
