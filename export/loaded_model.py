"""A written SavedModel, loaded and called as a model server does."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  Its ops are linked into TensorFlow Serving too.
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig


class LoadedModel:
    """Runs signatures of a SavedModel in a session of the C++ runtime.

    No Python code of the model takes part: the graph, its optimisation, the
    tables and the variables are those that TensorFlow Serving loads. The optimiser
    goes over the graph once, where a server lets it go twice: most of the time of the
    first requests is its time, and the second round makes the same kinds of changes.

    Args:
        path: Folder of the version.
    """

    def __init__(self, path: Path) -> None:
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto()
        rewriting = config.graph_options.rewrite_options
        rewriting.meta_optimizer_iterations = RewriterConfig.ONE
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        with self._graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self._session, [tf.saved_model.SERVING], str(path)
            )
        self._signatures = dict(meta_graph.signature_def)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    @property
    def signature_names(self) -> set[str]:
        """Names of the signatures that can be served."""
        return {name for name in self._signatures if not name.startswith("__")}

    def call(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature by name; strings are bytes."""
        definition = self._signatures[signature]
        feeds = {
            definition.inputs[name].name: inputs[name] for name in definition.inputs
        }
        fetches = {name: output.name for name, output in definition.outputs.items()}
        return self._session.run(fetches, feeds)
