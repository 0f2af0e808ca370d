"""Keeps the branches of a written SavedModel out of the paths that do not take them."""

from pathlib import Path

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.saved_model import fingerprinting_utils

_BRANCHING = frozenset({"If", "StatelessIf"})
_LOWERED = "_lower_using_switch_merge"


def keep_branches_apart(path: Path) -> int:
    """Makes every `tf.cond` call the branch that it takes as a function.

    By default the runtime merges both branches into the graph around them, behind
    one switch per value that they read. A text encoder reads a hundred variables,
    and a request that searches for nothing then passes by all of its operations,
    one by one, while one that searches for something waits for all the switches.

    Args:
        path: Folder with the SavedModel, which is changed in place.

    Returns:
        How many branchings there are.
    """
    file = path / "saved_model.pb"
    model = SavedModel()
    model.ParseFromString(file.read_bytes())
    count = 0
    for meta_graph in model.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                if node.op in _BRANCHING:
                    node.attr[_LOWERED].b = False
                    count += 1
    file.write_bytes(model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(path))  # It was of the old graph.
    return count
