from pathlib import Path

import numpy as np
import tensorflow as tf

from export.exporter import ExportReport
from export.loaded_model import LoadedModel
from export.same_signatures import join_signatures
from export.written_graph import written_graph


class Doubles(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 2.0 * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": 0.5 * x}


def nodes(path: Path, name: str) -> set[str]:
    """Returns what is fed and fetched for a signature."""
    with LoadedModel(path) as model:
        definition = model._signatures[name]
    both = (*definition.inputs.values(), *definition.outputs.values())
    return {info.name for info in both}


def test_second_name_stands_for_the_nodes_of_the_first(tmp_path: Path):
    module = Doubles()
    functions = {"one": module.double, "two": module.double, "half": module.half}
    tf.saved_model.save(module, str(tmp_path), signatures=functions)
    assert nodes(tmp_path, "one") != nodes(tmp_path, "two")
    half = nodes(tmp_path, "half")
    with written_graph(tmp_path) as written:
        join_signatures(written, ("one", "two"))
    assert nodes(tmp_path, "one") == nodes(tmp_path, "two")
    assert nodes(tmp_path, "half") == half
    x = np.array([1.0, 2.0], np.float32)
    with LoadedModel(tmp_path) as model:
        answers = {name: model.call(name, {"x": x})["y"].tolist() for name in functions}
    assert answers == {"one": [2.0, 4.0], "two": [2.0, 4.0], "half": [0.5, 1.0]}
    # Python finds both, too.
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    assert loaded["two"](x=tf.constant(x))["y"].numpy().tolist() == [2.0, 4.0]


def test_serving_default_costs_no_optimisation_of_its_own(exported: ExportReport):
    first, second = (nodes(exported.path, n) for n in ("recommend", "serving_default"))
    assert first == second
