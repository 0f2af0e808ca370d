"""What is searched: settings of the configuration and what they may be."""

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from pydantic import ValidationError

from tfrec.config import ExperimentConfig, SearchRange
from tfrec.config_messages import (
    ConfigError,
    check_known,
    config_fields,
    explain_values,
)

_RETRIEVAL = {
    "retrieval.dropout": SearchRange(low=0.1, high=0.7),
    "retrieval.num_layers": SearchRange(choices=(1, 2)),
    "training.retrieval.optimizer.learning_rate": SearchRange(
        low=5e-4, high=6e-3, log=True
    ),
    "training.retrieval.optimizer.weight_decay": SearchRange(choices=(0.0, 0.01, 0.1)),
    "training.retrieval.global_batch_size": SearchRange(choices=(800, 1_600, 3_200)),
}
_RANKING = {
    "ranking.dropout": SearchRange(low=0.0, high=0.6),
    "ranking.listwise_weight": SearchRange(low=0.25, high=4.0, log=True),
    "training.ranking.optimizer.learning_rate": SearchRange(
        low=3e-4, high=3e-3, log=True
    ),
}
USUAL_SPACES = {
    "retrieval": _RETRIEVAL,
    "ranking": _RANKING,
    "both": {**_RETRIEVAL, **_RANKING},
}
# What is searched must change what is trained, and nothing that trials share: neither
# the data nor the questions of the validation.
_RETRIEVAL_SECTIONS = (
    "retrieval.",
    "text.",
    "training.retrieval.",
    "training.batching",
    "training.mixed_precision",
)
_RANKING_SECTIONS = ("ranking.", "training.ranking.")
_SECTIONS = {
    "retrieval": _RETRIEVAL_SECTIONS,
    "ranking": _RANKING_SECTIONS,
    "both": (*_RETRIEVAL_SECTIONS, *_RANKING_SECTIONS),
}


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched.

    Attributes:
        key: Its dotted name.
        range: What it may be.
        kind: `float` and `int` are ranges of such numbers, `choice` a list.
    """

    key: str
    range: SearchRange
    kind: Literal["float", "int", "choice"]

    def suggest(self, trial: optuna.Trial) -> Any:
        """Returns the value of a trial, as the configuration takes it."""
        span = self.range
        if self.kind == "choice":
            return decode(trial.suggest_categorical(self.key, self._encoded()))
        low, high = _bounds(span)
        if self.kind == "float":
            return trial.suggest_float(
                self.key, low, high, log=span.log, step=span.step
            )
        step = int(span.step or 1)
        return trial.suggest_int(self.key, int(low), int(high), log=span.log, step=step)

    def encode(self, value: Any) -> Any:
        """Returns a value of the configuration as the study names it.

        Raises:
            ValueError: If the value is outside of the range.
        """
        encoded = _encode(value)
        if self.kind == "choice":
            inside = encoded in self._encoded()
        else:
            low, high = _bounds(self.range)
            inside = isinstance(value, int | float) and low <= value <= high
            if inside and self.range.step is not None:
                steps = (value - low) / self.range.step
                inside = abs(steps - round(steps)) < 1e-6
        if not inside:
            raise ValueError(f"`{self.key}` = {value} is outside of {self.describe()}.")
        return encoded

    def describe(self) -> str:
        """Says in a few words what is allowed."""
        span = self.range
        if span.choices is not None:
            return "one of " + ", ".join(str(_plain(c)) for c in span.choices)
        log = ", by factors" if span.log else ""
        step = f", step {span.step:g}" if span.step is not None else ""
        return f"{span.low:g} to {span.high:g}{log}{step}"

    def ends(self) -> list[Any]:
        """Returns the outermost values, or all choices."""
        if self.range.choices is not None:
            return [_plain(choice) for choice in self.range.choices]
        kind = int if self.kind == "int" else float
        return [kind(bound) for bound in _bounds(self.range)]

    def _encoded(self) -> list[Any]:
        return [_encode(choice) for choice in self.range.choices or ()]


def build_space(config: ExperimentConfig) -> tuple[Dimension, ...]:
    """Returns what `config.tune` searches, checked against the configuration.

    Raises:
        ConfigError: For a setting that does not exist, is not trained by the stages
            that are tuned, or cannot have the values of its range.
    """
    stages = config.tune.stages
    if stages != "retrieval" and config.ranking is None:
        raise ConfigError(
            f"`tune.stages={stages}` trains ranking, but `ranking` is null. Set "
            "`tune.stages: retrieval`, or configure `ranking`."
        )
    space = config.tune.space or USUAL_SPACES[stages]
    dimensions = tuple(_dimension(config, key, span) for key, span in space.items())
    for dimension in dimensions:
        for value in dimension.ends():
            _check_value(config, dimension.key, value)
    return dimensions


def apply_values(
    config: ExperimentConfig, values: Mapping[str, Any]
) -> ExperimentConfig:
    """Returns the configuration with settings by dotted name.

    Raises:
        ConfigError: If these values do not go together.
    """
    try:
        return ExperimentConfig.model_validate(_changed(config, values))
    except ValidationError as error:
        raise ConfigError(explain_values(error)) from error


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted names into sections.

    Example:
        >>> nest({"retrieval.dropout": 0.2, "retrieval.num_layers": 2})
        {'retrieval': {'dropout': 0.2, 'num_layers': 2}}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return result


def own_values(config: ExperimentConfig, space: Sequence[Dimension]) -> dict[str, Any]:
    """Returns what the configuration itself has for the settings of a space."""
    data = config.model_dump(mode="json")
    return {dimension.key: _get(data, dimension.key) for dimension in space}


def decode(value: Any) -> Any:
    """Returns a value of the configuration from what the study calls it."""
    return json.loads(value) if isinstance(value, str) and value[:1] == "[" else value


def _dimension(config: ExperimentConfig, key: str, span: SearchRange) -> Dimension:
    try:
        check_known(key)
    except ConfigError as error:
        raise ConfigError(f"In `tune.space`: {error}") from error
    stages = config.tune.stages
    if not any(f"{key}.".startswith(s) or key == s for s in _SECTIONS[stages]):
        allowed = ", ".join(s.rstrip(".") for s in _SECTIONS[stages])
        raise ConfigError(
            f"`tune.space` may name settings of {allowed} with `tune.stages={stages}`. "
            f"Received: `{key}`, which those trials do not train by, or must share."
        )
    if key.startswith("text.") and config.text is None:
        raise ConfigError(f"`tune.space` names `{key}`, but `text` is null. Set it.")
    return Dimension(key, span, _kind(key, span))


def _kind(key: str, span: SearchRange) -> Literal["float", "int", "choice"]:
    if span.choices is not None:
        return "choice"
    annotation = config_fields()[key].annotation
    kinds = {annotation}
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        kinds = set(typing.get_args(annotation))
    if float in kinds:
        return "float"
    if int not in kinds:
        raise ConfigError(
            f"`tune.space.{key}` is no number. Expected: `choices`, a list of its "
            f"values. Received: {span.low:g} to {span.high:g}."
        )
    numbers = [n for n in (span.low, span.high, span.step) if n is not None]
    if any(not n.is_integer() for n in numbers):
        raise ConfigError(
            f"`tune.space.{key}` is a whole number, and so are its `low`, `high` and "
            f"`step`. Received: {', '.join(f'{n:g}' for n in numbers)}."
        )
    return "int"


def _check_value(config: ExperimentConfig, key: str, value: Any) -> None:
    """Refuses what is wrong by itself; what goes together is seen by each trial."""
    try:
        ExperimentConfig.model_validate(_changed(config, {key: value}))
    except ValidationError as error:
        text = explain_values(error, ignore=("value_error",))
        if text:
            raise ConfigError(f"In `tune.space`: {text}") from error


def _changed(config: ExperimentConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    data = config.model_dump(mode="json")
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (_get(data, section) if section else data)[name] = value
    return data


def _get(data: Mapping[str, Any], key: str) -> Any:
    value: Any = data
    for part in key.split("."):
        value = value[part]
    return value


def _bounds(span: SearchRange) -> tuple[float, float]:
    assert span.low is not None  # A `SearchRange` without choices has both.
    assert span.high is not None
    return span.low, span.high


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _encode(value: Any) -> Any:
    """Optuna knows single values only; lists are written as JSON."""
    plain = _plain(value)
    return json.dumps(plain) if isinstance(plain, list) else plain
