from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from export.branches import keep_branches_apart
from export.exporter import ExportReport
from export.loaded_model import LoadedModel
from export.written_graph import written_graph


class Doubles(tf.Module):
    """Doubles what is positive in sum, by a variable; halves the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(tf.constant(2.0))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        factor = tf.convert_to_tensor(self.factor)
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * factor, lambda: x / factor)
        return {"y": y}


def lowered(path: Path) -> list[bool]:
    model = SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    functions = model.meta_graphs[0].graph_def.library.function
    nodes = [node for function in functions for node in function.node_def]
    return [
        node.attr["_lower_using_switch_merge"].b
        for node in nodes
        if node.op in ("If", "StatelessIf")
    ]


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [2.0, 4.0]), ([-4.0], [-2.0])])
def test_branches_are_called_and_give_what_they_gave(
    tmp_path: Path, x: list[float], y: list[float]
):
    module = Doubles()
    tf.saved_model.save(module, str(tmp_path), signatures={"double": module.__call__})
    assert any(lowered(tmp_path))
    with written_graph(tmp_path) as written:
        assert keep_branches_apart(written) == len(lowered(tmp_path)) > 0
    assert not any(lowered(tmp_path))
    with LoadedModel(tmp_path) as model:
        found = model.call("double", {"x": np.array(x, np.float32)})
    np.testing.assert_array_equal(found["y"], y)


def test_no_exported_branch_is_merged(exported: ExportReport):
    flags = lowered(exported.path)
    assert flags
    assert not any(flags)
