"""The graph of a written SavedModel, opened to be changed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.saved_model import fingerprinting_utils


@contextlib.contextmanager
def written_graph(path: Path) -> Iterator[SavedModel]:
    """Gives the SavedModel of a folder to a block, and writes what became of it.

    Args:
        path: Folder with the SavedModel, which is changed in place.
    """
    file = path / "saved_model.pb"
    model = SavedModel()
    model.ParseFromString(file.read_bytes())
    yield model
    file.write_bytes(model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(path))  # It was of the old graph.
