"""Rules about the order to the inputs of a signature."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_client.contract import CAP_PREFIX, WEIGHT_PREFIX, TensorSpec
from tfrec_client.errors import InvalidRequestError
from tfrec_client.rules import ListRules, OrderRules

# Argument of a request, the inputs that carry it, and the rule of the export.
_LISTED = (
    ("boosts", "boost_item_ids", "boost_factors", "boost"),
    ("bids", "bid_item_ids", "bids", "bids"),
)


def encode_rules(
    requests: Sequence[object], inputs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    """Returns the rule inputs that the served signature has.

    Args:
        requests: Those that are `OrderRules` or `ListRules` may say something, all
            others mean "nothing said".
        inputs: Inputs that the served signature has.

    Raises:
        InvalidRequestError: If a request says something that the signature has no
            input for: the model was exported without it, or it is about another
            signature.
    """
    orders = [r if isinstance(r, OrderRules) else OrderRules() for r in requests]
    lists = [r if isinstance(r, ListRules) else ListRules() for r in requests]
    return {
        **_encode_orders(orders, inputs),
        **_encode_by_name(
            "head_weights",
            WEIGHT_PREFIX,
            [rules.head_weights or {} for rules in orders],
            inputs,
            np.array(np.nan, np.float32),
        ),
        **_encode_listed(orders, inputs),
        **_encode_by_name(
            "caps",
            CAP_PREFIX,
            [rules.caps or {} for rules in lists],
            inputs,
            np.array(0, np.int32),
        ),
        **_encode_lists(lists, inputs),
    }


def _encode_orders(
    rules: Sequence[OrderRules], inputs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    orders = [rule.order for rule in rules]
    if not _has("order", "order", inputs, any(orders)):
        return {}
    return {"order": np.array(orders, object)}


def _encode_lists(
    rules: Sequence[ListRules], inputs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    arrays = {}
    ids = [list(rule.must_include_item_ids) for rule in rules]
    name = "must_include_item_ids"
    if _has(name, "must_include", inputs, any(ids)):
        arrays[name] = _pad(ids, object, "")
    strengths = [rule.diversity for rule in rules]
    if _has("diversity", "diversity", inputs, any(strengths)):
        arrays["diversity"] = np.array(strengths, np.float32)
    return arrays


def _encode_listed(
    rules: Sequence[OrderRules], inputs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    arrays = {}
    for argument, ids_name, values_name, rule_name in _LISTED:
        given = [getattr(rule, argument) or {} for rule in rules]
        if _has(argument, rule_name, inputs, any(given), input_name=ids_name):
            arrays[ids_name] = _pad([list(g) for g in given], object, "")
            arrays[values_name] = _pad(
                [list(g.values()) for g in given], np.float32, 0.0
            )
    return arrays


def _encode_by_name(
    argument: str,
    prefix: str,
    given: Sequence[Mapping[str, float]],
    inputs: Mapping[str, TensorSpec],
    nothing_said: np.ndarray,
) -> dict[str, np.ndarray]:
    """Fills the inputs that start with a prefix, one value a request."""
    known = sorted(n.removeprefix(prefix) for n in inputs if n.startswith(prefix))
    for name in (name for values in given for name in values):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InvalidRequestError(
                f"`{argument}` must only name what this signature of the model has: "
                f"{known}. Received: {name!r}.{hint} More is declared under `export` "
                "in its configuration."
            )
    return {
        prefix + name: np.array(
            [values.get(name, nothing_said) for values in given], nothing_said.dtype
        )
        for name in known
    }


def _has(
    argument: str,
    rule: str,
    inputs: Mapping[str, TensorSpec],
    is_said: bool,
    *,
    input_name: str | None = None,
) -> bool:
    """Whether the signature has an input; an error if it lacks one that is said."""
    has = (input_name or argument) in inputs
    if is_said and not has:
        raise InvalidRequestError(
            f"`{argument}` is not an input of this signature of the model. Leave it "
            f"out, or export the model with `{rule}` in `export.rules`. Lists are "
            "shaped by `recommend` alone, scores by `recommend` and `rank`."
        )
    return has


def _pad(rows: Sequence[Sequence], dtype: type, padding: str | float) -> np.ndarray:
    """Returns `[len(rows), longest, at least 1]`, filled up on the right."""
    padded = np.full((len(rows), max(1, *map(len, rows), 1)), padding, dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
