"""The gate that a stock TensorFlow Serving knows every op of a model."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from export.errors import ExportGateError

# Ops of TensorFlow Text 2.21, which the server links; a test compares the list.
TEXT_OPS = frozenset(
    [
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenizeOp",
        "SentencepieceTokenizeWithOffsetsOp",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenizeWithOffsets",
        "TFText>BoiseTagsToOffsets",
        "TFText>ByteSplitByOffsets",
        "TFText>ByteSplitWithOffsets",
        "TFText>FastSentencepieceDetokenize",
        "TFText>FastSentencepieceTokenize",
        "TFText>FastWordpieceDetokenize",
        "TFText>NgramsStringJoin",
        "TFText>OffsetsToBoiseTags",
        "TFText>PhraseDetokenize",
        "TFText>RoundRobinGenerateMasks",
        "TFText>RoundRobinTrim",
        "TFText>Utf8Binarize",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    ]
)
# Core by name, but their kernels call back into the Python of this process.
PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
XLA_ATTRIBUTE = "_XlaMustCompile"  # What `jit_compile=True` leaves behind.


def check_known_ops(path: Path) -> str:
    """Checks a SavedModel for ops or attributes that a stock server refuses.

    Core ops are those of `tf.raw_ops`, a module that the installed TensorFlow
    was built with, so it does not grow with op libraries loaded since. A function
    that must be compiled by XLA loads, but fails at every request unless the
    server was started with `--xla_cpu_compilation_enabled=true`.

    Args:
        path: Folder of the version.

    Returns:
        What was checked, in one line.

    Raises:
        ExportGateError: If an op or attribute is refused; names each with the
            function it stands in.
    """
    model = SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    ops: set[str] = set()
    refused: dict[str, str] = {}
    for place, node in _nodes(model):
        ops.add(node.op)
        if not _is_known(node.op):
            refused.setdefault(f"op {node.op}", place)
    for place, attributes in _attributes(model):
        if XLA_ATTRIBUTE in attributes and attributes[XLA_ATTRIBUTE].b:
            refused.setdefault(f"attribute {XLA_ATTRIBUTE}", place)
    if refused:
        found = ", ".join(f"{what} (in {place})" for what, place in refused.items())
        raise ExportGateError(
            "Every op must be one that TensorFlow Serving links: core TensorFlow or "
            f"TensorFlow Text, without `jit_compile`. Received: {found}. Replace "
            "them by core ops."
        )
    num_text_ops = len(ops & TEXT_OPS)
    return f"{len(ops)} kinds of ops, {num_text_ops} of them TensorFlow Text"


def _is_known(op: str) -> bool:
    return (hasattr(tf.raw_ops, op) and op not in PYTHON_OPS) or op in TEXT_OPS


def _nodes(model: SavedModel) -> Iterator[tuple[str, NodeDef]]:
    for meta_graph in model.meta_graphs:
        for node in meta_graph.graph_def.node:
            yield "the main graph", node
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                yield function.signature.name, node


def _attributes(model: SavedModel) -> Iterator[tuple[str, Mapping[str, AttrValue]]]:
    for place, node in _nodes(model):
        yield place, node.attr
    for meta_graph in model.meta_graphs:
        for function in meta_graph.graph_def.library.function:
            yield function.signature.name, function.attr
