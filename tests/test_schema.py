import json
from dataclasses import replace

import pytest

from tfrec.schema import (
    AttributeKind,
    AttributeSpec,
    Role,
    Schema,
    SignatureName,
)

SCHEMA = Schema(
    event_types=("view", "cart", "purchase"),
    target_event_types=("cart", "purchase"),
    item_attributes=(
        AttributeSpec("brand", AttributeKind.CATEGORICAL),
        AttributeSpec("category", AttributeKind.PATH, ">", 2),
        AttributeSpec("price", AttributeKind.NUMERIC),
    ),
    context=(
        AttributeSpec("device", AttributeKind.CATEGORICAL),
        AttributeSpec("basket_value", AttributeKind.NUMERIC),
    ),
    filters=("brand",),
    has_timestamps=False,
)


def test_json_round_trip_keeps_everything() -> None:
    restored = Schema.from_json(json.loads(json.dumps(SCHEMA.to_json())))
    assert restored == SCHEMA
    assert restored.schema_hash == SCHEMA.schema_hash


@pytest.mark.parametrize(
    "change",
    [
        {"event_types": ("view", "purchase", "cart")},
        {"target_event_types": ("cart",)},
        {"filters": ()},
        {"has_timestamps": True},
    ],
)
def test_any_change_changes_the_hash(change: dict[str, object]) -> None:
    changed = Schema(**{**SCHEMA.__dict__, **change})
    assert changed.schema_hash != SCHEMA.schema_hash


def test_recommend_takes_history_request_context_and_filters() -> None:
    names = [f.name for f in SCHEMA.signature_inputs(SignatureName.RECOMMEND)]
    assert names == [
        "history_item_ids",
        "history_event_types",
        "history_timestamps",
        "history_dwell_seconds",
        "query_text",
        "request_timestamp",
        "exclude_item_ids",
        "exclude_seen",
        "context_device",
        "context_basket_value",
        "filter_brand",
        "k",
    ]


def test_rank_takes_candidates_instead_of_k() -> None:
    recommend = {f.name for f in SCHEMA.signature_inputs(SignatureName.RECOMMEND)}
    rank = {f.name for f in SCHEMA.signature_inputs(SignatureName.RANK)}
    assert rank - recommend == {"candidate_item_ids"}
    assert recommend - rank == {"k"}


def test_similar_items_takes_an_item_and_k() -> None:
    inputs = SCHEMA.signature_inputs(SignatureName.SIMILAR_ITEMS)
    assert [(f.name, f.dtype) for f in inputs] == [
        ("item_ids", "string"),
        ("k", "int32"),
    ]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (
            SignatureName.RECOMMEND,
            ["item_ids", "scores", "retrieval_scores"]
            + ["cart_probability", "purchase_probability"],
        ),
        (SignatureName.RETRIEVE, ["item_ids", "scores"]),
        (SignatureName.RANK, ["scores", "cart_probability", "purchase_probability"]),
        (SignatureName.SIMILAR_ITEMS, ["item_ids", "scores"]),
        (SignatureName.EMBED_QUERY, ["embedding"]),
        (SignatureName.EMBED_TEXT, ["embedding"]),
    ],
)
def test_outputs_of_signatures(signature: SignatureName, expected: list[str]) -> None:
    assert [f.name for f in SCHEMA.signature_outputs(signature)] == expected


def test_dwell_is_an_output_of_ranking_only_where_it_is_predicted() -> None:
    with_dwell = replace(SCHEMA, has_dwell=True)
    for name in SignatureName:
        before = [f.name for f in SCHEMA.signature_outputs(name)]
        added = ["dwell_seconds"] if name in ("recommend", "rank") else []
        after = [f.name for f in with_dwell.signature_outputs(name)]
        assert after == before + added
    assert with_dwell.heads == SCHEMA.heads  # It is no probability.
    assert Schema.from_json(with_dwell.to_json()) == with_dwell
    old = {k: v for k, v in SCHEMA.to_json().items() if k != "has_dwell"}
    assert Schema.from_json(old) == SCHEMA


def test_texts_are_embedded_only_where_a_language_model_reads_them() -> None:
    reading = replace(SCHEMA, has_text=True)
    assert set(reading.signatures) == set(SignatureName)
    assert set(reading.signatures) - set(SCHEMA.signatures) == {"embed_text"}
    assert Schema.from_json(reading.to_json()).has_text
    assert reading.schema_hash != SCHEMA.schema_hash
    (text,) = reading.signature_inputs(SignatureName.EMBED_TEXT)
    assert (text.name, text.dtype, text.shape) == ("text", "string", ())


def test_embedded_query_knows_who_asks_but_not_what_may_be_answered() -> None:
    recommend = SCHEMA.signature_inputs(SignatureName.RECOMMEND)
    embed = SCHEMA.signature_inputs(SignatureName.EMBED_QUERY)
    of_recommend = {(f.name, f.dtype, f.shape) for f in recommend}
    assert {(f.name, f.dtype, f.shape) for f in embed} <= of_recommend
    left_out = {f.name for f in recommend} - {f.name for f in embed}
    filters = {"filter_" + name for name in SCHEMA.filters}
    assert left_out == {"k", "exclude_item_ids", "exclude_seen", *filters}


def test_numeric_context_means_nothing_said_by_nan() -> None:
    inputs = {f.name: f for f in SCHEMA.signature_inputs(SignatureName.RETRIEVE)}
    assert inputs["context_basket_value"].dtype == "float32"
    assert str(inputs["context_basket_value"].padding) == "nan"
    assert inputs["context_device"].padding == ""
    assert inputs["context_device"].role == Role.CONTEXT


def test_event_types_are_indexed_behind_padding_and_unknown() -> None:
    assert [SCHEMA.event_type_index(t) for t in ("view", "purchase", "fav")] == [
        2,
        4,
        1,
    ]


def test_tokens_of_a_path_are_its_prefixes_up_to_the_deepest_level_read() -> None:
    category = SCHEMA.item_attributes[1]
    assert category.tokens("home > lamps>desk") == ["home", "home>lamps"]
    assert category.tokens(None) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_event_types": ("fav",)}, r"target_event_types=\['fav'\]"),
        ({"target_event_types": ()}, "must name at least one"),
        ({"filters": ("colour",)}, r"filters=\['colour'\]"),
    ],
)
def test_contradictions_are_explained(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema(**{**SCHEMA.__dict__, **change})


def test_caps_and_rules_are_kept_and_change_no_hash_where_unused() -> None:
    ruled = replace(SCHEMA, caps=("brand",), rules=("order", "diversity"))
    assert Schema.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    assert ruled.schema_hash != SCHEMA.schema_hash
    assert not {"caps", "rules"} & set(SCHEMA.to_json())
    assert "learned" not in SCHEMA.to_json()["item_attributes"][0]
    bid = AttributeSpec("bid", AttributeKind.NUMERIC, learned=False)
    hidden = replace(SCHEMA, item_attributes=(bid,), filters=())
    assert not Schema.from_json(hidden.to_json()).item_attributes[0].learned


def test_rules_add_inputs_to_what_they_are_about_and_to_nothing_else() -> None:
    ruled = replace(
        SCHEMA,
        caps=("category",),
        rules=("order", "weights", "boost", "bids", "must_include", "diversity"),
    )

    def added(signature: SignatureName) -> list[str]:
        before = {f.name for f in SCHEMA.signature_inputs(signature)}
        after = [f.name for f in ruled.signature_inputs(signature)]
        return [name for name in after if name not in before]

    scores = ["order", "weight_cart", "weight_purchase", "boost_item_ids"]
    scores += ["boost_factors", "bid_item_ids", "bids"]
    lists = ["cap_category", "must_include_item_ids", "diversity"]
    assert added(SignatureName.RANK) == scores
    assert added(SignatureName.RECOMMEND) == scores + lists
    for signature in SignatureName:
        if signature not in (SignatureName.RANK, SignatureName.RECOMMEND):
            assert added(signature) == []


def test_caps_and_rules_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one value an item. Received: \['price'\]"):
        replace(SCHEMA, caps=("price",))
    with pytest.raises(ValueError, match=r"once. Received twice: \['brand'\]"):
        replace(SCHEMA, caps=("brand", "brand"))
    with pytest.raises(ValueError, match="need a ranking model.*order"):
        replace(SCHEMA, has_ranking=False, rules=("order", "diversity"))
    replace(SCHEMA, has_ranking=False, rules=("must_include", "diversity"))


def test_an_embedded_query_of_several_interests_has_a_dimension_more() -> None:
    several = replace(SCHEMA, has_interests=True)
    (embedding,) = several.signature_outputs(SignatureName.EMBED_QUERY)
    assert embedding.shape == ("num_interests", "embedding_dim")
    (of_text,) = several.signature_outputs(SignatureName.EMBED_TEXT)
    assert of_text.shape == ("embedding_dim",)  # A text is still one vector.
    assert Schema.from_json(several.to_json()) == several
    assert several.schema_hash != SCHEMA.schema_hash
    assert "has_interests" not in SCHEMA.to_json()  # Old hashes stay what they were.
