"""Typed requests to the inputs of a signature, and its outputs to typed results."""

import difflib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_client.checks import check_id, check_k, check_text, is_number
from tfrec_client.contract import (
    CONTEXT_PREFIX,
    DWELL_SECONDS,
    FILTER_PREFIX,
    PROBABILITY_SUFFIX,
    TensorSpec,
)
from tfrec_client.errors import InvalidRequestError
from tfrec_client.requests import (
    QueryRequest,
    RankRequest,
    RecommendationRequest,
    ShopperRequest,
)
from tfrec_client.results import RankedItem, Recommendation, ScoredItem
from tfrec_client.rules_codec import encode_rules

Arrays = dict[str, np.ndarray]


def encode_requests(
    requests: Sequence[ShopperRequest], inputs: Mapping[str, TensorSpec]
) -> Arrays:
    """Returns one array per input, padded to the longest request.

    Args:
        requests: One or more; all `RecommendationRequest` or all `RankRequest`.
        inputs: Inputs that the served signature has; declared context and
            filters that a request leaves out mean "nothing said".

    Raises:
        InvalidRequestError: If a request names context, filters or rules that
            the model does not have, or gives them the wrong type.
    """
    arrays = {
        **encode_queries(requests, inputs),
        "exclude_item_ids": _pad_strings([r.exclude_item_ids for r in requests]),
        "exclude_seen": np.array([r.exclude_seen for r in requests], bool),
    }
    if all(isinstance(r, RankRequest) for r in requests):
        arrays["candidate_item_ids"] = _pad_strings(
            [r.candidate_item_ids for r in requests if isinstance(r, RankRequest)]
        )
    else:
        ks = [r.k for r in requests if isinstance(r, RecommendationRequest)]
        arrays["k"] = np.array(ks, np.int32)
    filters = [request.filters or {} for request in requests]
    return {
        **arrays,
        **_encode_filters(filters, inputs),
        **encode_rules(requests, inputs),
    }


def encode_queries(
    requests: Sequence[QueryRequest], inputs: Mapping[str, TensorSpec]
) -> Arrays:
    """Returns the arrays of histories, searches, times and context.

    Args:
        requests: One or more.
        inputs: Inputs that the served signature has.

    Raises:
        InvalidRequestError: If a request names context that the model does not
            have, or gives it the wrong type.
    """
    if not requests:
        raise InvalidRequestError("`requests` must hold at least one. Received: none.")
    odd = next((r for r in requests if not isinstance(r, QueryRequest)), None)
    if odd is not None:
        raise InvalidRequestError(
            "`requests` must hold requests, such as `RecommendationRequest(history)`. "
            f"Received: {odd!r}."
        )
    histories = [r.history for r in requests]
    context = [request.context or {} for request in requests]
    return {
        "history_item_ids": _pad_strings([[e.item_id for e in h] for h in histories]),
        "history_event_types": _pad_strings(
            [[e.event_type for e in h] for h in histories]
        ),
        "history_timestamps": _pad_numbers(
            [[e.timestamp for e in h] for h in histories], np.int64
        ),
        "history_dwell_seconds": _pad_numbers(
            [[e.dwell_seconds for e in h] for h in histories], np.float32
        ),
        "query_text": np.array([r.query_text for r in requests], object),
        "request_timestamp": np.array([_request_time(r) for r in requests], np.int64),
        **_encode_context(context, inputs),
    }


def encode_texts(texts: Sequence[str]) -> Arrays:
    """Returns the inputs of `embed_text`: one row a text."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence) or not texts:
        raise InvalidRequestError(
            "`texts` must be a list or tuple of at least one string. "
            f"Received: {texts!r}."
        )
    for position, text in enumerate(texts):
        check_text(f"texts[{position}]", text)
    return {"text": np.array(texts, object)}


def encode_similar_items(item_ids: Sequence[str], k: int) -> Arrays:
    """Returns the inputs of `similar_items`: one row an item."""
    if not item_ids:
        raise InvalidRequestError("`item_ids` must name at least one. Received: none.")
    for item_id in item_ids:
        check_id("item_id", item_id)
    check_k(k)
    return {
        "item_ids": np.array(item_ids, object),
        "k": np.full(len(item_ids), k, np.int32),
    }


def decode_recommendations(
    outputs: Arrays, ks: Sequence[int]
) -> list[list[Recommendation]]:
    """Returns each request's items, best first, without the padded places."""
    heads = _heads(outputs)
    retrieval_scores = outputs["retrieval_scores"].tolist()
    return [
        [
            Recommendation(
                item_id,
                score,
                retrieval_scores[row][place],
                {head: float(values[row, place]) for head, values in heads.items()},
                _dwell(outputs, row, place),
            )
            for place, item_id, score in places
        ]
        for row, places in enumerate(_real_places(outputs, ks))
    ]


def decode_scored_items(outputs: Arrays, ks: Sequence[int]) -> list[list[ScoredItem]]:
    """Returns each row's items, best first, without the padded places."""
    return [
        [ScoredItem(item_id, score) for _, item_id, score in places]
        for places in _real_places(outputs, ks)
    ]


def decode_ranked(
    outputs: Arrays, requests: Sequence[RankRequest]
) -> list[list[RankedItem]]:
    """Returns each request's candidates with scores, in the order given."""
    heads = _heads(outputs)
    scores = outputs["scores"].tolist()
    return [
        [
            RankedItem(
                item_id,
                scores[row][place],
                {head: float(values[row, place]) for head, values in heads.items()},
                _dwell(outputs, row, place),
            )
            for place, item_id in enumerate(request.candidate_item_ids)
        ]
        for row, request in enumerate(requests)
    ]


def _dwell(outputs: Arrays, row: int, place: int) -> float | None:
    """Returns the predicted dwell, None from a model that predicts none."""
    if DWELL_SECONDS not in outputs:
        return None
    return float(outputs[DWELL_SECONDS][row, place])


def _heads(outputs: Arrays) -> Arrays:
    return {
        name.removesuffix(PROBABILITY_SUFFIX): values
        for name, values in sorted(outputs.items())
        if name.endswith(PROBABILITY_SUFFIX)
    }


def _real_places(
    outputs: Arrays, ks: Sequence[int]
) -> list[list[tuple[int, str, float]]]:
    item_ids, scores = outputs["item_ids"].tolist(), outputs["scores"].tolist()
    return [
        [
            (place, item_id, score)
            for place, (item_id, score) in enumerate(
                zip(item_ids[row][:k], scores[row][:k], strict=True)
            )
            if item_id and score != float("-inf")
        ]
        for row, k in enumerate(ks)
    ]


def _request_time(request: QueryRequest) -> int:
    if request.request_timestamp is not None:
        return request.request_timestamp
    # Clocks of two machines differ: an event may seem to lie in the future.
    last = request.history[-1].timestamp if request.history else 0
    return max(int(time.time()), last)


def _pad_strings(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns object `[len(rows), longest, at least 1]`, filled up with ""."""
    return _pad(rows, object, "")


def _pad_numbers(rows: Sequence[Sequence[float]], dtype: type) -> np.ndarray:
    return _pad(rows, dtype, 0)


def _pad(rows: Sequence[Sequence], dtype: type, padding: str | int) -> np.ndarray:
    # At least one place, so that no graph has to reduce over an empty axis.
    width = max(1, *(len(row) for row in rows)) if rows else 1
    padded = np.full((len(rows), width), padding, dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _encode_context(
    given: Sequence[Mapping[str, str | float | None]], inputs: Mapping[str, TensorSpec]
) -> Arrays:
    """Fills the inputs of declared context."""
    arrays = {}
    for name, spec in _declared(CONTEXT_PREFIX, "context", given, inputs).items():
        column = [values.get(name) for values in given]
        arrays[CONTEXT_PREFIX + name] = (
            np.array([_context_text(name, v) for v in column], object)
            if spec.dtype == "string"
            else np.array([_context_number(name, v) for v in column], np.float32)
        )
    return arrays


def _encode_filters(
    given: Sequence[Mapping[str, Sequence[str]]], inputs: Mapping[str, TensorSpec]
) -> Arrays:
    """Fills the inputs of declared filters."""
    return {
        FILTER_PREFIX + name: _pad_strings(
            [_filter_values(name, values.get(name)) for values in given]
        )
        for name in _declared(FILTER_PREFIX, "filters", given, inputs)
    }


def _declared(
    prefix: str,
    argument: str,
    given: Sequence[Mapping[str, object]],
    inputs: Mapping[str, TensorSpec],
) -> dict[str, TensorSpec]:
    """Returns what the model declares, by short name, if it has all that is given."""
    declared = {
        name.removeprefix(prefix): spec
        for name, spec in inputs.items()
        if name.startswith(prefix)
    }
    known = sorted(declared)
    for name in (name for values in given for name in values):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InvalidRequestError(
                f"`{argument}` must only name what the model has: {known}. "
                f"Received: {name!r}.{hint}"
            )
    return declared


def _filter_values(name: str, values: Sequence[str] | None) -> Sequence[str]:
    if values is None:
        return ()
    is_list = isinstance(values, Sequence) and not isinstance(values, str | bytes)
    if not is_list or not values or not all(isinstance(v, str) and v for v in values):
        raise InvalidRequestError(
            f"`filters[{name!r}]` must be a list of at least one string. Received: "
            f"{values!r}. Leave the filter out to allow every value."
        )
    return values


def _context_text(name: str, value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(
            f"`context[{name!r}]` must be a string. "
            f"Received: {value!r} ({type(value).__name__})."
        )
    return value or ""


def _context_number(name: str, value: object) -> float:
    if value is None:
        return float("nan")
    if not is_number(value):
        raise InvalidRequestError(
            f"`context[{name!r}]` must be a number. "
            f"Received: {value!r} ({type(value).__name__})."
        )
    return float(value)
