"""Takes the hidden copies of variables out of a written SavedModel."""

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.types_pb2 import DT_INT32
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

_GATHER = "ResourceGather"


def use_dense_reads(model: SavedModel) -> int:
    """Replaces every gather from a variable by a read and a gather from its value.

    `tf.gather(variable, ...)` becomes the op `ResourceGather`. Its kernel switches
    the variable to copy-on-read, made for training, where others write to it
    meanwhile: from then on each plain read of it copies all of it, at every
    request. An item table is both gathered from, for the history, and read, to
    score the catalogue. A plain read of a variable that nobody gathers from
    shares its memory, so read and gather together cost no copy.

    Args:
        model: What was written; it is changed.

    Returns:
        How many gathers were replaced.
    """
    count = 0
    for meta_graph in model.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            gathers = [node for node in function.node_def if node.op == _GATHER]
            count += len(gathers)
            for gather in gathers:
                read, axis = _replace(gather)
                function.node_def.extend([read, axis])
    return count


def _replace(gather: NodeDef) -> tuple[NodeDef, NodeDef]:
    """Turns a gather into one from a value; returns the nodes it needs.

    Its output keeps its name, `output`, so that its consumers stay as they are.
    """
    handle, indices, *control = gather.input
    read = NodeDef(name=f"{gather.name}/read", op="ReadVariableOp", input=[handle])
    read.input.extend(control)
    read.attr["dtype"].CopyFrom(gather.attr["dtype"])
    axis = NodeDef(name=f"{gather.name}/axis", op="Const")
    axis.attr["dtype"].type = DT_INT32
    axis.attr["value"].tensor.dtype = DT_INT32
    axis.attr["value"].tensor.tensor_shape.SetInParent()
    axis.attr["value"].tensor.int_val.append(0)
    gather.op = "GatherV2"
    del gather.input[:]
    gather.input.extend(
        [f"{read.name}:value:0", indices, f"{axis.name}:output:0", *control]
    )
    gather.attr["Tparams"].CopyFrom(gather.attr["dtype"])
    gather.attr["Taxis"].type = DT_INT32
    for name in ("dtype", "validate_indices"):  # Of the old op only.
        gather.attr.pop(name)
    return read, axis
