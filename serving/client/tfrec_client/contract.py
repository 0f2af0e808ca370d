"""The signatures of a tfrec model: names, dtypes and ranks of inputs and outputs.

The names repeat those of `tfrec.schema`, because this package is installed
without it; a test of the project holds both against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

RECOMMEND = "recommend"
RETRIEVE = "retrieve"
RANK = "rank"
SIMILAR_ITEMS = "similar_items"
EMBED_QUERY = "embed_query"
EMBED_TEXT = "embed_text"  # Only a model that reads texts has it.

CONTEXT_PREFIX = "context_"
FILTER_PREFIX = "filter_"
CAP_PREFIX = "cap_"
WEIGHT_PREFIX = "weight_"
PROBABILITY_SUFFIX = "_probability"
DWELL_SECONDS = "dwell_seconds"  # Only a model that predicts it has this output.


@dataclass(frozen=True)
class TensorSpec:
    """What one input or output of a signature holds.

    Attributes:
        dtype: `string`, `int64`, `int32`, `float32`, `float64` or `bool`.
        rank: Number of dimensions, the batch included; None if unknown.
    """

    dtype: str
    rank: int | None

    def accepts(self, other: "TensorSpec") -> bool:
        """True if `other` has the same dtype, and the same rank where known."""
        known = self.rank is not None and other.rank is not None
        return self.dtype == other.dtype and (not known or self.rank == other.rank)

    def __str__(self) -> str:
        """Reads like `string, rank 2`."""
        return f"{self.dtype}, rank {'unknown' if self.rank is None else self.rank}"


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one entry point of a model."""

    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)


_STRINGS = TensorSpec("string", 2)
_SCORES = TensorSpec("float32", 2)
_QUERY = {
    "history_item_ids": _STRINGS,
    "history_event_types": _STRINGS,
    "history_timestamps": TensorSpec("int64", 2),
    "history_dwell_seconds": TensorSpec("float32", 2),
    "query_text": TensorSpec("string", 1),
    "request_timestamp": TensorSpec("int64", 1),
}
_SHOPPER = {
    **_QUERY,
    "exclude_item_ids": _STRINGS,
    "exclude_seen": TensorSpec("bool", 1),
}
_K = {"k": TensorSpec("int32", 1)}
_SCORED_ITEMS = {"item_ids": _STRINGS, "scores": _SCORES}
_EMBEDDING = {"embedding": TensorSpec("float32", 2)}
# What a model whose queries are several vectors has in `embed_query`.
_EMBEDDINGS = {"embedding": TensorSpec("float32", 3)}

CONTRACT: dict[str, Signature] = {
    RECOMMEND: Signature(
        {**_SHOPPER, **_K}, {**_SCORED_ITEMS, "retrieval_scores": _SCORES}
    ),
    RETRIEVE: Signature({**_SHOPPER, **_K}, _SCORED_ITEMS),
    RANK: Signature({**_SHOPPER, "candidate_item_ids": _STRINGS}, {"scores": _SCORES}),
    SIMILAR_ITEMS: Signature(
        {"item_ids": TensorSpec("string", 1), **_K}, _SCORED_ITEMS
    ),
    EMBED_QUERY: Signature(_QUERY, _EMBEDDING),
    EMBED_TEXT: Signature({"text": TensorSpec("string", 1)}, _EMBEDDING),
}
# Inputs of a model that was exported with rules about the order.
_ORDER_RULES = {
    "order": TensorSpec("string", 1),
    "boost_item_ids": _STRINGS,
    "boost_factors": TensorSpec("float32", 2),
    "bid_item_ids": _STRINGS,
    "bids": TensorSpec("float32", 2),
}
_LIST_RULES = {
    "must_include_item_ids": _STRINGS,
    "diversity": TensorSpec("float32", 1),
}
# What every model has.
COMMON_SIGNATURES = tuple(name for name in CONTRACT if name != EMBED_TEXT)
_WHY_MISSING = {
    EMBED_TEXT: "; it reads no texts: set `text` in its configuration (a WordPiece "
    "model, such as MiniLM), train and export again"
}


def is_declared(signature_name: str, input_name: str, spec: TensorSpec) -> bool:
    """True for an input that a shop may add and that this client can fill.

    Context is one string or number a request, a filter a list of strings. Rules are
    about `recommend`, those about scores about `rank`, too.
    """
    if signature_name in (SIMILAR_ITEMS, EMBED_TEXT):
        return False
    if _is_rule(signature_name, input_name, spec):
        return True
    if input_name.startswith(FILTER_PREFIX):
        return signature_name != EMBED_QUERY and _STRINGS.accepts(spec)
    kinds = (TensorSpec("string", 1), TensorSpec("float32", 1))
    return input_name.startswith(CONTEXT_PREFIX) and any(k.accepts(spec) for k in kinds)


def _is_rule(signature_name: str, input_name: str, spec: TensorSpec) -> bool:
    rules: dict[str, TensorSpec] = {}
    if signature_name in (RECOMMEND, RANK):
        rules = dict(_ORDER_RULES)
        if input_name.startswith(WEIGHT_PREFIX):
            rules[input_name] = TensorSpec("float32", 1)
    if signature_name == RECOMMEND:
        rules |= _LIST_RULES
        if input_name.startswith(CAP_PREFIX):
            rules[input_name] = TensorSpec("int32", 1)
    return input_name in rules and rules[input_name].accepts(spec)


def list_differences(
    found: Mapping[str, Signature], signature_names: tuple[str, ...]
) -> list[str]:
    """Returns one line per difference between a model and this client."""
    lines = []
    for name in signature_names:
        if name not in found:
            why = _WHY_MISSING.get(name, "")
            lines.append(f"signature `{name}` is missing; found {sorted(found)}{why}")
            continue
        expected, received = CONTRACT[name], found[name]
        lines += _compare(f"input of `{name}`", expected.inputs, received.inputs)
        outputs = expected.outputs
        if name == EMBED_QUERY and received.outputs == _EMBEDDINGS:
            outputs = _EMBEDDINGS
        lines += _compare(f"output of `{name}`", outputs, received.outputs)
        lines += [
            f"input of `{name}` `{key}` ({spec}) is not known to this client"
            for key, spec in received.inputs.items()
            if key not in expected.inputs and not is_declared(name, key, spec)
        ]
    return lines


def _compare(
    what: str, expected: Mapping[str, TensorSpec], received: Mapping[str, TensorSpec]
) -> list[str]:
    lines = []
    for key, spec in expected.items():
        if key not in received:
            lines.append(f"{what} `{key}` ({spec}) is missing")
        elif not spec.accepts(received[key]):
            lines.append(f"{what} `{key}`: expected {spec}, received {received[key]}")
    return lines
