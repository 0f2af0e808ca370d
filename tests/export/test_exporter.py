import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from export.errors import ExportGateError
from export.exporter import ExportReport, export_model, export_schema
from export.loaded_model import LoadedModel
from export.requests import RequestSampler
from tests.export.conftest import Toy
from tests.export.fakes import FakeRecommender
from tfrec.schema import Schema

ROOT = Path(__file__).parents[2]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_export_passes_all_gates_and_says_so(exported: ExportReport, toy: Toy):
    assert [gate.name for gate in exported.gates] == ["known ops", "parity", "warm-up"]
    assert exported.path == toy.config.run_path / "model" / "toy" / "1"
    assert exported.num_bytes == sum(
        path.stat().st_size for path in exported.path.rglob("*") if path.is_file()
    )
    assert {name for name, _, _ in exported.signatures} == {
        "recommend",
        "serving_default",
        "retrieve",
        "rank",
        "similar_items",
        "embed_query",
        "embed_text",
    }


def test_vocabularies_are_assets_and_hold_odd_ids(exported: ExportReport):
    assets = {path.name for path in (exported.path / "assets").iterdir()}
    assert assets == {
        "item_id.txt",
        "event_type.txt",
        "context_country.txt",
        "filter_brand.txt",
        "filter_category.txt",
    }


LOADS = """
import sys
from pathlib import Path
import numpy as np
from export.loaded_model import LoadedModel

with LoadedModel(Path(sys.argv[1])) as model:
    texts = np.array(["lamp", ""], object)
    embedding = model.call("embed_text", {"text": texts})["embedding"]
print(np.abs(embedding).sum(axis=1) > 0)
"""


def test_written_texts_are_read_in_a_fresh_process(exported: ExportReport):
    run = subprocess.run(
        [sys.executable, "-c", LOADS, str(exported.path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, "[ True False]\n"), run.stderr


def test_text_ops_are_counted_by_the_gate(exported: ExportReport):
    detail = {gate.name: gate.detail for gate in exported.gates}["known ops"]
    # It splits words and looks up their pieces.
    assert "2 of them TensorFlow Text" in detail


def test_serving_default_is_recommend(exported: ExportReport, sampler: RequestSampler):
    request = sampler.parity_requests()[2]
    with LoadedModel(exported.path) as model:
        first = model.call("recommend", request.inputs)
        second = model.call("serving_default", request.inputs)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_extra_files_hold_schema_config_and_card(exported: ExportReport, toy: Toy):
    extra = exported.path / "assets.extra"
    assert (
        Schema.from_json(json.loads((extra / "schema.json").read_text())) == toy.schema
    )
    config = yaml.safe_load((extra / "config.yaml").read_text())
    assert config["export"]["filters"] == ["category", "brand"]
    assert toy.schema.schema_hash in (extra / "model_card.md").read_text()


def test_no_gather_from_a_variable_is_left(exported: ExportReport):
    model = SavedModel()
    model.ParseFromString((exported.path / "saved_model.pb").read_bytes())
    functions = model.meta_graphs[0].graph_def.library.function
    ops = {node.op for function in functions for node in function.node_def}
    assert "ResourceGather" not in ops
    assert {"GatherV2", "ReadVariableOp"} <= ops


def test_second_export_is_the_next_version_and_a_taken_one_changes_nothing(
    toy: Toy, exported: ExportReport
):
    parent = exported.path.parent
    before = digests(parent)
    with pytest.raises(FileExistsError, match="Version 1 must be new"):
        export_model(toy.recommender, toy.dataset, toy.config, version=1)
    assert digests(parent) == before
    path = export_model(toy.recommender, toy.dataset, toy.config)
    assert path.name == str(int(max(p.name for p in parent.iterdir())))
    assert path.name != "1"


class OtherInGraphs(FakeRecommender):
    """Answers otherwise when it is traced: what the parity gate is for."""

    def scores_of(self, encoded: tf.Tensor) -> tf.Tensor:
        scores = super().scores_of(encoded)
        return scores if tf.executing_eagerly() else -scores


class OtherSearchInGraphs(FakeRecommender):
    """Reads searches otherwise when it is traced."""

    def encode_texts(self, texts: tf.Tensor) -> tf.Tensor | tuple[()]:
        vectors = super().encode_texts(texts)
        return vectors if tf.executing_eagerly() else -tf.convert_to_tensor(vectors)


class CallsPython(FakeRecommender):
    """Needs this process to answer: what the op gate is for."""

    def scores_of(self, encoded: tf.Tensor) -> tf.Tensor:
        scores = super().scores_of(encoded)
        (same,) = tf.numpy_function(lambda x: [x], [scores], [tf.float32])
        return tf.ensure_shape(same, scores.shape)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OtherInGraphs, r"(?s)answer as the eager one.*'recommend'.*scores of row"),
        (OtherSearchInGraphs, r"(?s)answer as the eager one.*Request 1 of 'recommend'"),
        (CallsPython, r"Received: op PyFunc \(in __inference_"),
    ],
)
def test_failed_gate_leaves_nothing(
    toy: Toy, tmp_path: Path, kind: type[FakeRecommender], message: str
):
    model_dir = tmp_path / "models"
    recommender = kind(toy.schema, num_items=7)
    with pytest.raises(ExportGateError, match=message):
        export_model(recommender, toy.dataset, toy.config, model_dir=model_dir)
    assert list(tmp_path.iterdir()) == []


def test_config_of_other_data_is_refused(toy: Toy):
    data = toy.config.data.model_copy(update={"event_types": ("view", "purchase")})
    config = toy.config.model_copy(update={"data": data})
    with pytest.raises(ValueError, match=r"differs in \['event_types'\]"):
        export_schema(toy.dataset, config)


def test_schema_of_the_export_is_that_of_the_data_with_filters(toy: Toy):
    expected = dataclasses.replace(
        toy.dataset.schema, filters=("category", "brand"), has_text=True
    )
    assert export_schema(toy.dataset, toy.config) == expected


def test_a_disk_without_room_is_named_and_nothing_is_left(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match="No space left.*Nothing is left of it"):
        export_model(toy.recommender, toy.dataset, toy.config, model_dir=tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
