"""Lets names of one signature stand for the same nodes of a written SavedModel."""

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel


def join_signatures(model: SavedModel, names: tuple[str, ...]) -> None:
    """Makes the signatures `names[1:]` aliases of `names[0]`.

    `tf.saved_model.save` gives each name inputs, a call and outputs of its own. The
    runtime optimises a graph for every set of inputs and outputs that is asked for,
    a second for a large model, so a second name costs that again at its first
    request, in a server and in the gates.

    Args:
        model: What was written; it is changed.
        names: Names under which one function was written.
    """
    for meta_graph in model.meta_graphs:
        for name in names[1:]:
            meta_graph.signature_def[name].CopyFrom(meta_graph.signature_def[names[0]])
