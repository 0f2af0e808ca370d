"""Messages about configurations: what is unknown, what was expected, what came."""

import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tfrec.config import ExperimentConfig


class ConfigError(ValueError):
    """A configuration that cannot be used; the message fits on a few lines."""


def keys_in(
    data: Mapping[Any, Any],
    model: type[BaseModel] = ExperimentConfig,
    *,
    prefix: str = "",
) -> Iterator[str]:
    """Yields the dotted names that a file sets, as far as they can be known."""
    for key, value in data.items():
        yield f"{prefix}{key}"
        field = model.model_fields.get(str(key))
        nested = field and _nested_model(field.annotation)
        if nested:
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Mapping):
                    yield from keys_in(part, nested, prefix=f"{prefix}{key}.")


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    """Returns the configuration class inside `X`, `X | None` or `tuple[X, ...]`."""
    if dict in _origins(annotation):
        return None  # The keys of a mapping are the user's, not fields.
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None


@functools.cache  # Every key of every file is looked up in them.
def config_fields(
    model: type[BaseModel] = ExperimentConfig, prefix: str = ""
) -> Mapping[str, FieldInfo]:
    """Returns every field of the configuration by its dotted name."""
    fields: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        fields[prefix + name] = field
        nested = _nested_model(field.annotation)
        if nested:
            fields |= config_fields(nested, f"{prefix}{name}.")
    return MappingProxyType(fields)


def config_class(key: str) -> type[BaseModel]:
    """Returns the class of a section; the whole experiment for other keys."""
    field = config_fields().get(key)
    return (field and _nested_model(field.annotation)) or ExperimentConfig


def check_known(key: str) -> None:
    """Raises a `ConfigError` with the nearest known name for an unknown one."""
    fields = config_fields()
    parent = fields.get(key.rpartition(".")[0])
    if key in fields or (parent and dict in _origins(parent.annotation)):
        return
    raise ConfigError(_unknown(key))


def _origins(annotation: Any) -> set[Any]:
    return {getattr(a, "__origin__", a) for a in (annotation, *get_args(annotation))}


def _unknown(key: str, *, option: bool = False) -> str:
    fields = list(config_fields())
    near = difflib.get_close_matches(key, fields, n=1, cutoff=0.6) or [
        f for f in fields if f.rpartition(".")[2] == key.rpartition(".")[2]
    ]
    dashes = "--" if option else ""
    hint = f"Did you mean `{dashes}{near[0]}`?" if near else "See --help for all."
    kind = "option" if option else "config key"
    return f"Unknown {kind} `{dashes}{key}`. {hint}"


def explain(message: str) -> str:
    """Turns a message of jsonargparse into expected, received."""
    unknown = re.match(r"unrecognized arguments: (?:.* )?--([\w.]+)", message)
    if unknown:
        return _unknown(unknown[1], option=True)
    keys = re.findall(r'Parser key "([\w.]+)":', message)
    received = re.findall(r"Got value: (.*)|Not of type \w+: '(.*)' is", message)
    if keys and received:
        field = config_fields().get(".".join(keys))
        reason = re.search(
            r"^\s*(?:- )?(Input should .*?)(?: \[type=|$)", message, re.M
        )
        expected = reason[1] if reason else _expected(field) if field else ""
        if expected:
            return _bad_value(".".join(keys), expected, "".join(received[-1]))
    missing = re.search(r"arguments are required: (.*)", message)
    if missing:
        return "\n".join(_missing(key) for key in missing[1].split(", "))
    return " ".join(message.split())


def _expected(field: FieldInfo) -> str:
    kind = field.annotation
    choices = [a for a in get_args(kind) if isinstance(a, str)]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        choices = [member.value for member in kind]
    if choices:
        return "one of " + ", ".join(choices)
    if tuple in _origins(kind):
        return "a list " + (_of_members(kind) or "such as [a, b]")
    if dict in _origins(kind):
        return "a mapping such as {a: b}"
    name = str(getattr(kind, "__name__", kind))
    patterns = [getattr(m, "pattern", None) for m in field.metadata]
    return ", ".join([name, *(f"matching {p}" for p in patterns if p)])


def _of_members(kind: Any) -> str:
    """Says which values a list may hold, where those are given names."""
    for member in get_args(kind):
        if isinstance(member, type) and issubclass(member, StrEnum):
            return "of some of " + ", ".join(m.value for m in member)
    return ""


def _bad_value(key: str, expected: str, received: object) -> str:
    expected = expected.replace("Input should be ", "")
    expected = expected.replace("a valid tuple", "a list such as [a, b]")
    if expected == "a valid string":
        hint = f"'{received}'"
        if received in ("True", "False"):
            hint = "of yes, no, on, off YAML makes a truth value"
        expected = f"text; quote it ({hint})"
    expected = re.sub(r", unable to parse .*", "", expected)
    return f"Bad value of `{key}`. Expected: {expected}. Received: {received}."


def _missing(key: str) -> str:
    return (
        f"Config key `{key}` is missing. Set it in the file that --config names, or "
        f"give --{key}."
    )


def explain_values(error: ValidationError, *, ignore: Sequence[str] = ()) -> str:
    """Returns one line for each finding of pydantic, by dotted name."""
    lines = []
    for finding in error.errors(include_url=False):
        if finding["type"] in ignore:
            continue
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "missing":
            lines.append(_missing(key))
        elif finding["type"] == "value_error":
            reason = finding["msg"].removeprefix("Value error, ")
            lines.append(f"In `{key}`: {reason}" if key else reason)
        else:
            lines.append(_bad_value(key, finding["msg"], repr(finding["input"])))
    return "\n".join(lines)
