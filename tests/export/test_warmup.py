from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.errors import ExportGateError
from export.exporter import ExportReport
from export.loaded_model import LoadedModel
from export.requests import RequestSampler
from export.warmup import check_warmup, read_warmup, write_warmup
from tests.export.conftest import Toy
from tests.export.fakes import ITEM_IDS, TITLES
from tfrec.schema import SignatureName

WARMUP = Path("assets.extra/tf_serving_warmup_requests")


SEARCHING = ("recommend", "serving_default", "retrieve", "rank", "embed_query")


def test_every_signature_is_warmed_up_alone_and_in_a_batch(exported: ExportReport):
    found, searches = Counter(), Counter()
    for request in read_warmup(exported.path / WARMUP):
        assert request.model_spec.name == "toy"
        inputs = {name: tf.make_ndarray(t) for name, t in request.inputs.items()}
        sizes = {len(values) for values in inputs.values()}
        assert len(sizes) == 1
        kind = request.model_spec.signature_name, sizes.pop()
        found[kind] += 1
        texts = [text.decode() for text in inputs.get("query_text", [])]
        searches[kind] += bool(texts) and set(texts) <= set(TITLES)
    names = [*SignatureName, "serving_default"]
    kinds = [(name, size) for name in names for size in (1, 8)]
    # With a search and without, where one may be made.
    assert found == {kind: 1 + (kind[0] in SEARCHING) for kind in kinds}
    assert searches == {kind: int(kind[0] in SEARCHING) for kind in kinds}


def test_warmup_without_texts_searches_for_nothing(wordless: Toy):
    sampler = RequestSampler(wordless.schema, wordless.dataset, 4, {})
    requests = sampler.warmup_requests([1])
    assert len(requests) == len(SignatureName) - 1
    assert "embed_text" not in {request.signature for request in requests}
    asked = [r.inputs["query_text"][0] for r in requests if "query_text" in r.inputs]
    assert asked == [""] * 4


def test_warmup_requests_ask_for_real_items_with_the_dtypes_of_the_schema(
    exported: ExportReport, toy: Toy
):
    for request in read_warmup(exported.path / WARMUP):
        name = request.model_spec.signature_name
        signature = SignatureName("recommend" if name == "serving_default" else name)
        specs = toy.schema.signature_inputs(signature)
        dtypes = {
            k: tf.dtypes.as_dtype(v.dtype).name for k, v in request.inputs.items()
        }
        assert dtypes == {spec.name: spec.dtype for spec in specs}
        key = {"similar_items": "item_ids", "embed_text": "text"}.get(
            signature, "history_item_ids"
        )
        known = set(TITLES if key == "text" else ITEM_IDS)
        asked = {v.decode() for v in tf.make_ndarray(request.inputs[key]).ravel()}
        assert asked
        assert asked <= known


def test_signature_without_warmup_is_refused(
    exported: ExportReport, sampler: RequestSampler, tmp_path: Path
):
    requests = [
        request
        for request in sampler.warmup_requests([1])
        if request.signature != SignatureName.RANK
    ]
    path = write_warmup(requests, tmp_path, model_name="toy")
    with (
        LoadedModel(exported.path) as model,
        pytest.raises(ExportGateError, match=r"none for \['rank'\]"),
    ):
        check_warmup(path, model)


def test_warmup_that_fails_is_refused(
    exported: ExportReport, sampler: RequestSampler, tmp_path: Path
):
    requests = sampler.warmup_requests([1])
    requests[0].inputs["k"] = np.array([0], np.int32)
    path = write_warmup(requests, tmp_path, model_name="toy")
    with (
        LoadedModel(exported.path) as model,
        pytest.raises(
            ExportGateError, match="record 0 of 'recommend' must be answered"
        ),
    ):
        check_warmup(path, model)
