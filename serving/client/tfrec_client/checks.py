"""Checks of single values of a request."""

import numbers
from collections.abc import Sequence
from typing import TypeGuard

from tfrec_client.errors import InvalidRequestError

MAX_K = 2**31 - 1  # `k` is an int32.
# Unix seconds reach this in the year 5138; milliseconds passed it in 1973.
MAX_TIMESTAMP = 100_000_000_000


def is_whole_number(value: object) -> TypeGuard[int]:
    """True for Python's and NumPy's integers, but not for booleans."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """True for Python's and NumPy's real numbers, but not for booleans."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_timestamp(name: str, value: object) -> None:
    """Raises InvalidRequestError unless `value` is a time in whole unix seconds."""
    if not is_whole_number(value):
        raise InvalidRequestError(
            f"`{name}` must be whole unix seconds (int). "
            f"Received: {name}={value!r} ({type(value).__name__}). Use int(...)."
        )
    if not 0 <= value < MAX_TIMESTAMP:
        hint = " It looks like milliseconds: divide by 1000." if value > 0 else ""
        raise InvalidRequestError(
            f"`{name}` must be unix seconds, 0 or later. "
            f"Received: {name}={value}.{hint}"
        )


def check_id(name: str, value: object) -> None:
    """Raises InvalidRequestError unless `value` is a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(
            f"`{name}` must be a string that is not empty. "
            f"Received: {name}={value!r} ({type(value).__name__})."
        )
    _check_encodes(name, value)


def check_ids(name: str, values: object) -> None:
    """Raises InvalidRequestError unless `values` is a sequence of ids."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InvalidRequestError(
            f"`{name}` must be a list or tuple of strings. Received: "
            f"{name}={values!r} ({type(values).__name__}). Put one value in a list."
        )
    for position, value in enumerate(values):
        check_id(f"{name}[{position}]", value)


def check_text(name: str, value: object) -> None:
    """Raises InvalidRequestError unless `value` is a string; "" is one."""
    if not isinstance(value, str):
        raise InvalidRequestError(
            f"`{name}` must be a string. "
            f"Received: {name}={value!r} ({type(value).__name__})."
        )
    _check_encodes(name, value)


def _check_encodes(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"`{name}` must be text that UTF-8 can write. Received: half of a "
            f"surrogate pair at place {error.start} of {ascii(value)[:60]}. Read the "
            "text with its own encoding."
        ) from error


def check_k(value: object) -> None:
    """Raises InvalidRequestError unless `value` is a positive int32."""
    if not is_whole_number(value) or not 1 <= value <= MAX_K:
        raise InvalidRequestError(
            f"`k` must be a whole number, 1 to {MAX_K}. "
            f"Received: k={value!r} ({type(value).__name__})."
        )
