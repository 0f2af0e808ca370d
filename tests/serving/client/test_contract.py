from dataclasses import replace

from tfrec_client.contract import (
    COMMON_SIGNATURES,
    CONTRACT,
    Signature,
    TensorSpec,
    is_declared,
    list_differences,
)

from tests.serving.toy_schema import PLAIN_SCHEMA, SHOP_SCHEMA
from tfrec.schema import Schema, SignatureName


def signatures_of(schema: Schema) -> dict[str, Signature]:
    def specs(features: tuple) -> dict[str, TensorSpec]:
        return {f.name: TensorSpec(f.dtype, 1 + len(f.shape)) for f in features}

    return {
        name.value: Signature(
            specs(schema.signature_inputs(name)), specs(schema.signature_outputs(name))
        )
        for name in schema.signatures
    }


def test_the_client_speaks_exactly_the_signatures_of_a_plain_schema() -> None:
    found = signatures_of(PLAIN_SCHEMA)
    assert set(COMMON_SIGNATURES) == set(found)
    for name, signature in found.items():
        assert CONTRACT[name].inputs == signature.inputs
        beyond = set(signature.outputs) - set(CONTRACT[name].outputs)
        heads = {"view_probability", "purchase_probability"}
        assert beyond == (heads if name in ("recommend", "rank") else set())
        assert CONTRACT[name].outputs.items() <= signature.outputs.items()


def test_the_client_speaks_every_signature_of_a_shop_with_texts() -> None:
    assert set(CONTRACT) == set(SignatureName) == set(signatures_of(SHOP_SCHEMA))
    assert CONTRACT["embed_text"] == signatures_of(SHOP_SCHEMA)["embed_text"]


def test_a_model_without_texts_is_told_from_an_old_one() -> None:
    (line,) = list_differences(signatures_of(PLAIN_SCHEMA), ("embed_text",))
    assert "`embed_text` is missing" in line
    assert "reads no texts: set `text` in its configuration" in line


def test_declared_context_and_filters_are_no_difference() -> None:
    assert list_differences(signatures_of(SHOP_SCHEMA), tuple(CONTRACT)) == []


def test_every_difference_has_a_line_of_its_own() -> None:
    found = signatures_of(PLAIN_SCHEMA)
    del found["rank"]
    recommend = found["recommend"]
    inputs = dict(recommend.inputs)
    inputs["k"] = TensorSpec("int64", 1)
    inputs["history_timestamps"] = TensorSpec("int64", 1)
    del inputs["query_text"]
    inputs["user_id"] = TensorSpec("string", 1)
    outputs = {n: s for n, s in recommend.outputs.items() if n != "scores"}
    found["recommend"] = Signature(inputs, outputs)
    lines = list_differences(found, COMMON_SIGNATURES)
    assert sorted(lines) == [
        "input of `recommend` `history_timestamps`: expected int64, rank 2, "
        "received int64, rank 1",
        "input of `recommend` `k`: expected int32, rank 1, received int64, rank 1",
        "input of `recommend` `query_text` (string, rank 1) is missing",
        "input of `recommend` `user_id` (string, rank 1) is not known to this client",
        "output of `recommend` `scores` (float32, rank 2) is missing",
        "signature `rank` is missing; "
        "found ['embed_query', 'recommend', 'retrieve', 'similar_items']",
    ]


def test_only_context_and_filters_of_known_form_can_be_filled() -> None:
    assert is_declared("recommend", "context_x", TensorSpec("float32", 1))
    assert is_declared("rank", "filter_x", TensorSpec("string", 2))
    assert not is_declared("recommend", "context_x", TensorSpec("string", 2))
    assert not is_declared("recommend", "filter_x", TensorSpec("string", 1))
    assert not is_declared("recommend", "x", TensorSpec("string", 1))
    assert not is_declared("similar_items", "context_x", TensorSpec("string", 1))
    assert not is_declared("embed_text", "context_x", TensorSpec("string", 1))
    assert is_declared("embed_query", "context_x", TensorSpec("string", 1))
    assert not is_declared("embed_query", "filter_x", TensorSpec("string", 2))


def test_an_unknown_rank_fits_any() -> None:
    assert TensorSpec("string", 2).accepts(TensorSpec("string", None))
    assert not TensorSpec("string", 2).accepts(TensorSpec("int64", None))


def test_a_query_of_several_vectors_is_no_difference_but_another_rank_is() -> None:
    found = signatures_of(replace(PLAIN_SCHEMA, has_interests=True))
    assert found["embed_query"].outputs == {"embedding": TensorSpec("float32", 3)}
    assert list_differences(found, COMMON_SIGNATURES) == []
    inputs = found["embed_query"].inputs
    found["embed_query"] = Signature(inputs, {"embedding": TensorSpec("float32", 1)})
    (line,) = list_differences(found, COMMON_SIGNATURES)
    assert line.endswith("expected float32, rank 2, received float32, rank 1")
