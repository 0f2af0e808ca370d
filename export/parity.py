"""The gate that a written model answers as the model it was made from."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from export.errors import ExportGateError
from export.loaded_model import LoadedModel
from export.requests import SampleRequest
from export.signatures import ServingModule, tensor_spec
from tfrec.schema import ITEM_IDS, SCORES

TOLERANCE = 1e-5  # Of a number; relative to it where it is greater than 1.

Outputs = Mapping[str, np.ndarray]


def check_parity(
    module: ServingModule, model: LoadedModel, requests: Sequence[SampleRequest]
) -> str:
    """Checks that eager and loaded model give the same answers.

    Two items may stand the other way round only if their scores differ by less
    than the tolerance: float sums are not the same in every order.

    Args:
        module: The eager model.
        model: What was written, loaded as a server does.
        requests: What to ask.

    Returns:
        What was checked, in one line.

    Raises:
        ExportGateError: If an answer differs or holds NaN.
    """
    # The runtime optimises the graph of each signature, outside of Python, while the
    # eager model answers.
    with ThreadPoolExecutor(max_workers=1) as pool:
        answers = pool.submit(_answer_eagerly, module, requests)
        received = [model.call(r.signature.value, r.inputs) for r in requests]
    largest = 0.0
    for number, (request, *both) in enumerate(
        zip(requests, answers.result(), received, strict=True)
    ):
        try:
            largest = max(largest, compare_outputs(*both))
        except ValueError as error:
            raise ExportGateError(
                "The written model must answer as the eager one. Request "
                f"{number} of '{request.signature}': {error}"
            ) from error
    return f"{len(requests)} requests, largest relative difference {largest:.1e}"


def _answer_eagerly(
    module: ServingModule, requests: Sequence[SampleRequest]
) -> list[dict[str, np.ndarray]]:
    # All signatures are asked about the same shoppers: to encode them and to score the
    # catalogue for them op by op takes longer than all the rest.
    with module.encode.remembering(), module.score.remembering():
        return [call_eagerly(module, request) for request in requests]


def call_eagerly(
    module: ServingModule, request: SampleRequest
) -> dict[str, np.ndarray]:
    """Returns the outputs of a signature, run op by op in Python."""
    specs = module.schema.signature_inputs(request.signature)
    raw = {
        spec.name: tf.constant(request.inputs[spec.name], tensor_spec(spec).dtype)
        for spec in specs
    }
    outputs = getattr(module, request.signature.value)(**raw)
    return {name: value.numpy() for name, value in outputs.items()}


def compare_outputs(expected: Outputs, received: Outputs) -> float:
    """Compares two answers to one request.

    Returns:
        The largest difference of two finite numbers, relative to the expected one
        where that is greater than 1.

    Raises:
        ValueError: If they differ, with the output, row and values.
    """
    shapes = [{n: v.shape for n, v in sorted(o.items())} for o in (expected, received)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"outputs are {shapes[1]}, expected {shapes[0]}.")
    rows = range(len(next(iter(expected.values()))))
    return max((_compare_row(expected, received, row) for row in rows), default=0.0)


def _compare_row(expected: Outputs, received: Outputs, row: int) -> float:
    one = {name: values[row] for name, values in expected.items()}
    two = {name: values[row] for name, values in received.items()}
    largest = 0.0
    if ITEM_IDS in one:
        largest = _difference(one[SCORES], two[SCORES], f"{SCORES} of row {row}")
        two = _in_order_of(one, two, row)
    for name, values in one.items():
        if name != ITEM_IDS:
            what = f"{name} of row {row}"
            largest = max(largest, _difference(values, two[name], what))
    return largest


def _in_order_of(one: Outputs, two: Outputs, row: int) -> dict[str, np.ndarray]:
    """Returns `two` with its places in the item order of `one`.

    An item of `one` that `two` lacks can only be one that ties with the last
    place; its place is taken over, which leaves it out of the comparison.
    """
    ids, other_ids = one[ITEM_IDS].tolist(), two[ITEM_IDS].tolist()
    places = {item_id: place for place, item_id in enumerate(other_ids)}
    last = min(one[SCORES][one[ITEM_IDS] != b""], default=0.0)
    reordered = {name: values.copy() for name, values in two.items()}
    for place, item_id in enumerate(ids):
        if item_id == b"" or other_ids[place] == b"":
            if item_id != other_ids[place]:
                raise ValueError(
                    f"place {place} of row {row} has the item "
                    f"{other_ids[place]!r}, expected {item_id!r}."
                )
            continue
        found = places.get(item_id)
        for name in two:
            values = one[name][place] if found is None else two[name][found]
            reordered[name][place] = values
        is_tied = one[SCORES][place] - last <= TOLERANCE * max(1.0, abs(last))
        if found is None and not is_tied:
            raise ValueError(f"row {row} lacks the item {item_id!r} of place {place}.")
    return reordered


def _difference(expected: np.ndarray, received: np.ndarray, what: str) -> float:
    if np.isnan(expected).any() or np.isnan(received).any():
        raise ValueError(f"{what} holds NaN: {received}, expected {expected}.")
    finite = np.isfinite(expected)
    same_places = np.array_equal(expected[~finite], received[~finite])
    scale = np.maximum(np.abs(expected[finite]), 1.0)
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected[finite] - received[finite]) / scale
    largest = float(difference.max(initial=0.0))
    if not same_places or not largest <= TOLERANCE:
        raise ValueError(f"{what} is {received}, expected {expected}.")
    return largest
