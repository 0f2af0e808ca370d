"""Reads what is typed on the command line, and prints tables as plain text."""

import time
from collections.abc import Mapping, Sequence

from tfrec_client.contract import CONTEXT_PREFIX, TensorSpec
from tfrec_client.errors import InvalidRequestError
from tfrec_client.requests import Event

_SECONDS_BETWEEN_EVENTS = 60
_SHOWN_NUMBERS = 6  # Of a vector; `--json` prints all.
_LEAST_IN_PLACES = 1e-3


def parse_history(texts: Sequence[str]) -> list[Event]:
    """Returns the events of `ITEM:TYPE[:TIME[:DWELL]]` texts.

    An item id may contain colons: the rest is read from the right. Events
    without a time lie a minute apart and end a minute before now.

    Raises:
        InvalidRequestError: If a text has no item or no type.
    """
    now = int(time.time())
    events = []
    for position, text in enumerate(texts):
        parts = text.split(":")
        values: list[str] = []
        while len(parts) > 2 and len(values) < 2 and _is_number(parts[-1]):
            values.insert(0, parts.pop())
        item_id, event_type = ":".join(parts[:-1]), parts[-1]
        if not item_id or not event_type or _is_number(event_type):
            raise InvalidRequestError(
                "`--history` takes ITEM:TYPE[:TIME[:DWELL]], such as sku-1:view. "
                f"Received: {text!r}."
            )
        age = (len(texts) - position) * _SECONDS_BETWEEN_EVENTS
        timestamp = _parse_time(values[0], text) if values else now - age
        dwell_seconds = float(values[1]) if len(values) == 2 else 0.0
        events.append(Event(item_id, event_type, timestamp, dwell_seconds))
    return events


def parse_context(
    texts: Sequence[str], inputs: Mapping[str, TensorSpec]
) -> dict[str, str | float | None]:
    """Returns the context of `NAME=VALUE` texts.

    Args:
        texts: What was typed.
        inputs: Inputs of the signature: they say which context is a number.

    Raises:
        InvalidRequestError: If a number is expected and none was typed.
    """
    context: dict[str, str | float | None] = {}
    for name, value in map(_parse_pair, texts):
        spec = inputs.get(CONTEXT_PREFIX + name)
        is_number = spec is not None and spec.dtype != "string"
        if is_number and not _is_number(value):
            raise InvalidRequestError(
                f"`--context {name}=...` takes a number. Received: {value!r}."
            )
        context[name] = float(value) if is_number else value
    return context


def parse_filters(texts: Sequence[str]) -> dict[str, list[str]]:
    """Returns the allowed values by name of `NAME=VALUE` texts."""
    filters: dict[str, list[str]] = {}
    for name, value in map(_parse_pair, texts):
        filters.setdefault(name, []).append(value)
    return filters


def format_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Returns rows with like keys as aligned text, numbers to the right."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    cells = [names, *([_format_cell(row[n]) for n in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    to_right = [isinstance(rows[0][n], int | float) for n in names]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _format_cell(value: object) -> str:
    if isinstance(value, list):
        shown = [f"{number:.3f}" for number in value[:_SHOWN_NUMBERS]]
        rest = " …" if len(value) > _SHOWN_NUMBERS else ""
        return f"[{' '.join(shown)}{rest}] of {len(value)}"
    if not isinstance(value, float):
        return str(value)
    # Probabilities may be so small that four places are zeros.
    is_small = 0.0 < abs(value) < _LEAST_IN_PLACES
    return f"{value:.2e}" if is_small else f"{value:.4f}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_time(text: str, event: str) -> int:
    if not text.isdecimal():
        raise InvalidRequestError(
            f"TIME must be whole unix seconds. Received: {text!r} in {event!r}."
        )
    return int(text)


def _parse_pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise InvalidRequestError(
            f"Expected NAME=VALUE, such as country=DE. Received: {text!r}."
        )
    return name, value
