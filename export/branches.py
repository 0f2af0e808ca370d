"""Keeps the branches of a written SavedModel out of the paths that do not take them."""

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

_BRANCHING = frozenset({"If", "StatelessIf"})
_LOWERED = "_lower_using_switch_merge"


def keep_branches_apart(model: SavedModel) -> int:
    """Makes every `tf.cond` call the branch that it takes as a function.

    By default the runtime merges both branches into the graph around them, behind
    one switch per value that they read. A text encoder reads a hundred variables,
    and a request that searches for nothing then passes by all of its operations,
    one by one, while one that searches for something waits for all the switches.

    Args:
        model: What was written; it is changed.

    Returns:
        How many branchings there are.
    """
    count = 0
    for meta_graph in model.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                if node.op in _BRANCHING:
                    node.attr[_LOWERED].b = False
                    count += 1
    return count
