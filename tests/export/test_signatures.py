import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.parity import call_eagerly
from export.requests import RequestSampler, SampleRequest, batch_rows
from export.signatures import ServingModule
from tests.export.conftest import Toy
from tests.export.fakes import ITEM_IDS, FakeRecommender
from tfrec.features.request import Request
from tfrec.models.recommender_interface import RankedCandidates
from tfrec.schema import SignatureName

HISTORY = {
    "history_item_ids": ["lamp", "sofa"],
    "history_event_types": ["view", "cart"],
    "history_timestamps": [100, 200],
    "history_dwell_seconds": [3.0, 4.0],
    "request_timestamp": 250,
    "context_country": "DE",
    "context_basket_value": 0.5,
}
# The same, as the models read it: lamp and sofa are items 0 and 5 of the catalogue.
INDEXED = Request(
    tf.constant([[2, 7]]),
    tf.constant([[2, 3]]),
    tf.constant([[100, 200]], tf.int64),
    tf.constant([[3.0, 4.0]]),
    tf.constant([250], tf.int64),
    {"country": tf.constant([3]), "basket_value": tf.constant([0.5])},
)
RED_LAMP = (7, 5)  # Rows of "red" and "lamp" in the WordPieces, between [CLS], [SEP].


def ask(module: ServingModule, signature: str, *rows: dict[str, Any]) -> dict[str, Any]:
    request = batch_rows(module.schema, SignatureName(signature), rows)
    outputs = call_eagerly(module, request)
    if "item_ids" in outputs:
        decode = np.vectorize(bytes.decode, otypes=[object])
        outputs["item_ids"] = decode(outputs["item_ids"])
    return outputs


def found(outputs: dict[str, Any], row: int = 0) -> list[str]:
    return [item_id for item_id in outputs["item_ids"][row] if item_id]


def by_score(scores: np.ndarray, item_ids: list[str]) -> list[str]:
    return [item_ids[i] for i in sorted(range(len(scores)), key=lambda i: -scores[i])]


def test_signatures_take_and_give_what_the_schema_says(module: ServingModule):
    functions = module.concrete_functions()
    assert set(functions) == set(SignatureName)
    for name, function in functions.items():
        _, inputs = function.structured_input_signature
        expected = {
            spec.name: (spec.dtype, [None] * (1 + len(spec.shape)))
            for spec in module.schema.signature_inputs(name)
        }
        received = {n: (s.dtype.name, s.shape.as_list()) for n, s in inputs.items()}
        assert received == expected
        outputs = {s.name: s.dtype for s in module.schema.signature_outputs(name)}
        traced = {n: s.dtype.name for n, s in function.structured_outputs.items()}
        assert traced == outputs


def test_retrieve_orders_the_catalogue_by_retrieval_score(
    toy: Toy, module: ServingModule
):
    encoded = toy.recommender.encode(INDEXED)
    scores = toy.recommender.scores_of(encoded).numpy()[0]
    outputs = ask(module, "retrieve", HISTORY | {"k": 7})
    assert found(outputs) == by_score(scores, list(ITEM_IDS))
    np.testing.assert_allclose(outputs["scores"][0], sorted(scores)[::-1], rtol=1e-5)


def test_recommend_ranks_the_best_retrieved_and_cuts_at_k(
    toy: Toy, module: ServingModule
):
    encoded = toy.recommender.encode(INDEXED)
    scores = toy.recommender.scores_of(encoded).numpy()[0]
    candidates = np.argsort(-scores)[: FakeRecommender.num_candidates]
    ranked = toy.recommender.rank(
        INDEXED,
        tf.constant([candidates + 2], tf.int32),
        tf.constant([scores[candidates]]),
        encoded=encoded,
    )
    final = ranked.scores.numpy()[0]
    outputs = ask(module, "recommend", HISTORY | {"k": 3})
    order = np.argsort(-final)[:3]
    assert outputs["item_ids"][0].tolist() == [
        ITEM_IDS[candidates[place]] for place in order
    ]
    assert (np.diff(candidates[order]) < 0).any()  # Ranking does change the order.
    np.testing.assert_allclose(outputs["scores"][0], final[order], rtol=1e-5)
    np.testing.assert_allclose(
        outputs["retrieval_scores"][0], scores[candidates[order]], rtol=1e-5
    )
    for head, probability in ranked.probabilities.items():
        np.testing.assert_allclose(
            outputs[head][0], probability.numpy()[0][order], rtol=1e-5
        )


def test_recommend_ranks_only_as_many_candidates_as_configured(module: ServingModule):
    best = set(found(ask(module, "retrieve", HISTORY | {"k": 5})))
    assert set(found(ask(module, "recommend", HISTORY | {"k": 5}))) == best


@pytest.mark.parametrize("signature", list(SignatureName))
def test_batch_is_answered_as_each_row_alone(
    module: ServingModule, sampler: RequestSampler, signature: SignatureName
):
    batches = [r for r in sampler.parity_requests() if r.signature == signature]
    batch = max(batches, key=lambda request: len(next(iter(request.inputs.values()))))
    together = call_eagerly(module, batch)
    num_rows = len(next(iter(together.values())))
    assert num_rows == 6
    for row in range(num_rows):
        one = {name: values[row : row + 1] for name, values in batch.inputs.items()}
        alone = call_eagerly(module, SampleRequest(signature, one))
        for name, values in alone.items():
            width = values.shape[1]
            if values.dtype == object:
                assert together[name][row, :width].tolist() == values[0].tolist()
            else:
                expected = together[name][row, :width]
                np.testing.assert_allclose(values[0], expected, rtol=1e-4, atol=1e-4)


def test_every_row_gets_its_own_k(module: ServingModule):
    outputs = ask(module, "recommend", *(HISTORY | {"k": k} for k in (2, 4, 1)))
    assert outputs["item_ids"].shape == (3, 4)
    for row, k in enumerate((2, 4, 1)):
        assert (outputs["item_ids"][row] != "").tolist() == [True] * k + [False] * (
            4 - k
        )
        assert np.isneginf(outputs["scores"][row, k:]).all()
        assert np.isneginf(outputs["retrieval_scores"][row, k:]).all()
        assert (outputs["view_probability"][row, k:] == 0).all()
        assert (outputs["view_probability"][row, :k] > 0).all()


def test_greater_k_of_another_row_does_not_widen_the_choice(module: ServingModule):
    alone = ask(module, "recommend", HISTORY | {"k": 3})
    every = ask(module, "recommend", HISTORY | {"k": 7})
    # Beyond the candidates of k = 3 there are items that rank better.
    assert found(every)[:3] != found(alone)
    together = ask(module, "recommend", HISTORY | {"k": 3}, HISTORY | {"k": 7})
    assert found(together, 0) == found(alone)


@pytest.mark.parametrize("signature", ["recommend", "retrieve"])
def test_k_beyond_the_catalogue_gives_the_catalogue(
    module: ServingModule, signature: str
):
    outputs = ask(module, signature, HISTORY | {"k": 2_000_000_000})
    assert outputs["item_ids"].shape == (1, len(ITEM_IDS))
    assert set(found(outputs)) == set(ITEM_IDS)


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("signature", ["recommend", "retrieve", "similar_items"])
def test_k_that_is_not_positive_is_invalid(
    module: ServingModule, signature: str, k: int
):
    rows = (HISTORY | {"k": 3}, HISTORY | {"k": k})
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` must be at least 1"):
        ask(module, signature, *rows)


@pytest.mark.parametrize("signature", list(SignatureName))
def test_inputs_of_different_batch_sizes_are_refused_by_name(
    module: ServingModule, signature: SignatureName
):
    rows = (HISTORY | {"k": 3}, HISTORY | {"k": 3})
    request = batch_rows(module.schema, signature, rows)
    inputs = {name: tf.constant(value) for name, value in request.inputs.items()}
    function = module.concrete_functions()[signature]
    function(**inputs)
    message = "All inputs must have the same batch size"
    for name in inputs if len(inputs) > 1 else ():
        wrong = inputs | {name: inputs[name][:1]}
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{message}.*{name}"):
            function(**wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(**{name: value[:0] for name, value in inputs.items()})


@pytest.mark.parametrize("signature", ["recommend", "retrieve"])
def test_excluded_and_seen_items_never_appear(module: ServingModule, signature: str):
    excluded = ["mug", "nobody's", "灯"]
    outputs = ask(
        module,
        signature,
        HISTORY | {"k": 7, "exclude_item_ids": excluded},
        HISTORY | {"k": 7, "exclude_seen": True},
        HISTORY | {"k": 7},
    )
    assert set(found(outputs, 0)) == set(ITEM_IDS) - {"mug", "灯"}
    assert set(found(outputs, 1)) == set(ITEM_IDS) - {"lamp", "sofa"}
    assert set(found(outputs, 2)) == set(ITEM_IDS)
    assert np.isneginf(outputs["scores"][0, 5:]).all()


def test_events_too_old_to_be_read_count_as_seen(module: ServingModule):
    history = ["mug", *["lamp"] * FakeRecommender.max_history_length]
    row = {"history_item_ids": history, "k": 7, "exclude_seen": True}
    row |= {"history_event_types": ["view"] * 5, "history_timestamps": range(5)}
    row |= {"history_dwell_seconds": [0.0] * 5}
    assert not {"mug", "lamp"} & set(found(ask(module, "retrieve", row)))


def test_all_items_excluded_gives_only_missing_places(module: ServingModule):
    row = HISTORY | {"k": 3, "exclude_item_ids": list(ITEM_IDS)}
    outputs = ask(module, "recommend", row)
    assert outputs["item_ids"].tolist() == [["", "", ""]]
    assert np.isneginf(outputs["scores"]).all()
    assert (outputs["purchase_probability"] == 0).all()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        # By path prefix; "Rare" is not in the attribute's vocabulary.
        ({"filter_category": ["home"]}, {"lamp", "tab\there", 'quo"te', "sofa"}),
        ({"filter_category": ["home/lamps", "kitchen"]}, {"lamp", "tab\there", "mug"}),
        ({"filter_brand": ["Rare"]}, {"sofa"}),
        ({"filter_category": ["home"], "filter_brand": ["Acme"]}, {"lamp"}),
        ({"filter_brand": ["No such brand"]}, set()),
        ({"filter_brand": ["", "Bolt", "?"]}, {"tab\there", "灯"}),
        ({"filter_brand": ["", ""]}, set(ITEM_IDS)),
    ],
)
def test_only_items_that_pass_the_filters_appear(
    module: ServingModule, filters: dict[str, list[str]], expected: set[str]
):
    rows = (HISTORY | {"k": 7}, HISTORY | {"k": 7} | filters)
    outputs = ask(module, "recommend", *rows)
    assert set(found(outputs, 0)) == set(ITEM_IDS)  # The other row is not filtered.
    assert set(found(outputs, 1)) == expected


def test_rank_keeps_the_order_given_and_marks_what_may_not_be_shown(
    toy: Toy, module: ServingModule
):
    candidates = ["mug", "nobody's", "", "lamp", "sofa"]
    row = HISTORY | {"candidate_item_ids": candidates, "exclude_item_ids": ["lamp"]}
    outputs = ask(module, "rank", row)
    encoded = toy.recommender.encode(INDEXED)
    scores = toy.recommender.scores_of(encoded).numpy()[0]
    index = tf.constant([[ITEM_IDS.index("mug") + 2, ITEM_IDS.index("sofa") + 2]])
    ranked = toy.recommender.rank(
        INDEXED, index, tf.gather(scores, index - 2), encoded=encoded
    )
    shown = outputs["scores"][0, [0, 4]]
    np.testing.assert_allclose(shown, ranked.scores[0], rtol=1e-5)
    assert np.isneginf(outputs["scores"][0, 1:4]).all()
    assert (outputs["view_probability"][0, 1:4] == 0).all()
    assert (outputs["view_probability"][0, [0, 4]] > 0).all()


def test_similar_items_are_the_nearest_by_cosine_without_the_item(
    toy: Toy, module: ServingModule
):
    table = toy.recommender.items.numpy()[2:]
    cosine = [
        float(table[5] @ row / np.linalg.norm(table[5]) / np.linalg.norm(row))
        for row in table
    ]
    expected = by_score(np.array(cosine), list(ITEM_IDS))
    expected.remove("sofa")
    rows = ({"item_ids": "sofa", "k": 7}, {"item_ids": "nobody's", "k": 7})
    outputs = ask(module, "similar_items", *rows)
    assert outputs["item_ids"][0].tolist() == [*expected, ""]
    best = sorted(cosine)[::-1][1:]
    np.testing.assert_allclose(outputs["scores"][0, :-1], best, atol=1e-6)
    assert found(outputs, 1) == []
    assert np.isneginf(outputs["scores"][1]).all()


def vector_of(recommender: FakeRecommender, word_rows: tuple[int, ...]) -> np.ndarray:
    words = recommender.words.numpy()
    return np.mean([words[row] for row in (2, *word_rows, 3)], axis=0)


def test_search_is_added_to_the_query_of_its_own_row_only(
    toy: Toy, module: ServingModule
):
    rows = (HISTORY | {"k": 7}, HISTORY | {"k": 7, "query_text": " RED <i>lamp</i>"})
    outputs = ask(module, "retrieve", *rows)
    query = toy.recommender.query(INDEXED).numpy()[0]
    items = toy.recommender.items.numpy()[2:]
    silent = items @ query
    searching = items @ (query + vector_of(toy.recommender, RED_LAMP))
    assert by_score(silent, list(ITEM_IDS)) != by_score(searching, list(ITEM_IDS))
    assert found(outputs, 0) == by_score(silent, list(ITEM_IDS))
    assert found(outputs, 1) == by_score(searching, list(ITEM_IDS))


@pytest.mark.parametrize("signature", ["recommend", "rank", "retrieve"])
def test_history_is_encoded_once_a_request(
    toy: Toy, module: ServingModule, signature: str
):
    before = toy.recommender.num_encoded
    ask(module, signature, HISTORY | {"k": 3, "candidate_item_ids": ["lamp"]})
    assert toy.recommender.num_encoded == before + 1


@pytest.mark.parametrize("signature", ["recommend", "rank"])
def test_search_changes_every_answer_about_a_shopper(
    module: ServingModule, signature: str
):
    row = HISTORY | {"k": 3, "candidate_item_ids": ["lamp", "mug"]}
    silent, searching = (
        ask(module, signature, row | {"query_text": text})["scores"]
        for text in ("", "red lamp")
    )
    assert np.abs(silent - searching).max() > 1e-3


def test_embedding_of_a_query_holds_history_and_search(toy: Toy, module: ServingModule):
    rows = (HISTORY, HISTORY | {"query_text": "red lamp"})
    embedding = ask(module, "embed_query", *rows)["embedding"]
    query = toy.recommender.query(INDEXED).numpy()[0]
    searching = query + vector_of(toy.recommender, RED_LAMP)
    for row, expected in zip(embedding, (query, searching), strict=True):
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), 1e-5)


def test_embedding_of_a_text_is_that_of_its_words_and_zero_without(
    toy: Toy, module: ServingModule
):
    texts = [{"text": text} for text in ("Red lamp", "", "  <br> ")]
    embedding = ask(module, "embed_text", *texts)["embedding"]
    expected = vector_of(toy.recommender, RED_LAMP)
    np.testing.assert_allclose(embedding[0], expected / np.linalg.norm(expected), 1e-5)
    assert (embedding[1:] == 0).all()


def test_model_without_texts_has_no_embed_text_and_ignores_searches(
    wordless: Toy, tmp_path: Path
):
    module = ServingModule(
        wordless.recommender,
        wordless.dataset,
        schema=wordless.schema,
        asset_dir=tmp_path,
    )
    assert set(module.concrete_functions()) == set(SignatureName) - {"embed_text"}
    rows = (HISTORY | {"k": 7}, HISTORY | {"k": 7, "query_text": "red lamp"})
    outputs = ask(module, "recommend", *rows)
    np.testing.assert_array_equal(outputs["scores"][0], outputs["scores"][1])
    assert found(outputs, 0) == found(outputs, 1)


class SameScores(FakeRecommender):
    """Cannot tell items apart."""

    def scores_of(self, encoded: tf.Tensor) -> tf.Tensor:
        return tf.zeros_like(super().scores_of(encoded))

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: tf.Tensor,
    ) -> RankedCandidates:
        ranked = super().rank(
            request, candidate_index, retrieval_scores, encoded=encoded
        )
        return ranked._replace(scores=tf.zeros_like(ranked.scores))


def test_ties_keep_the_order_of_retrieval_and_of_the_catalogue(
    toy: Toy, tmp_path: Path
):
    recommender = SameScores(toy.schema, num_items=7)
    module = ServingModule(
        recommender, toy.dataset, schema=toy.schema, asset_dir=tmp_path
    )
    row = HISTORY | {"k": 7, "exclude_item_ids": ["tab\there"]}
    outputs = ask(module, "recommend", row)
    expected = [item_id for item_id in ITEM_IDS if item_id != "tab\there"]
    assert outputs["item_ids"][0].tolist() == [*expected, ""]


def test_recommender_of_another_catalogue_is_refused(toy: Toy, tmp_path: Path):
    recommender = FakeRecommender(toy.schema, num_items=3)
    with pytest.raises(ValueError, match="recommender.num_items=3.*: 7"):
        ServingModule(recommender, toy.dataset, schema=toy.schema, asset_dir=tmp_path)


def test_recommender_with_other_heads_is_refused(toy: Toy, tmp_path: Path):
    class OneHead(FakeRecommender):
        def rank(
            self,
            request: Request,
            candidate_index: tf.Tensor,
            retrieval_scores: tf.Tensor,
            *,
            encoded: tf.Tensor,
        ) -> RankedCandidates:
            ranked = super().rank(
                request, candidate_index, retrieval_scores, encoded=encoded
            )
            return ranked._replace(probabilities={"view_probability": ranked.scores})

    module = ServingModule(
        OneHead(toy.schema, num_items=7),
        toy.dataset,
        schema=toy.schema,
        asset_dir=tmp_path,
    )
    with pytest.raises(ValueError, match="one probability per head"):
        ask(module, "recommend", HISTORY | {"k": 1})


class DwellRecommender(FakeRecommender):
    """Predicts half the final score as seconds."""

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: tf.Tensor,
    ) -> RankedCandidates:
        ranked = super().rank(
            request, candidate_index, retrieval_scores, encoded=encoded
        )
        return ranked._replace(dwell_seconds=ranked.scores / 2.0)


@pytest.mark.parametrize("signature", ["recommend", "rank"])
def test_predicted_dwell_is_given_in_the_order_of_the_items(
    signature: str, toy: Toy, tmp_path: Path
):
    schema = dataclasses.replace(toy.schema, has_dwell=True)

    def serve(recommender: FakeRecommender) -> ServingModule:
        return ServingModule(
            recommender, toy.dataset, schema=schema, asset_dir=tmp_path
        )

    asked = HISTORY | {"exclude_item_ids": ["lamp"]}
    if signature == "recommend":
        asked |= {"k": 9}
    else:
        asked |= {"candidate_item_ids": ["sofa", "lamp"]}
    module = serve(DwellRecommender(toy.schema, num_items=7))
    outputs = ask(module, signature, asked)
    assert set(outputs) == {
        s.name for s in schema.signature_outputs(SignatureName(signature))
    }
    is_item = np.isfinite(outputs["scores"])
    assert is_item.any()
    assert not is_item.all()
    expected = np.where(is_item, outputs["scores"] / 2.0, 0.0)
    np.testing.assert_allclose(outputs["dwell_seconds"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="must return `dwell_seconds`"):
        ask(serve(FakeRecommender(toy.schema, num_items=7)), signature, asked)
