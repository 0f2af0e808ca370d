"""Reads, overrides, checks and saves the configuration of an experiment.

jsonargparse reads the files, the dotted overrides and writes `--help`; pydantic
checks the values. This module joins both and says clearly what is wrong.
"""

import os
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace
from jsonargparse.typing import register_type
from pydantic import ValidationError

from tfrec.config import ExperimentConfig
from tfrec.config_messages import (
    ConfigError,
    check_known,
    config_class,
    explain,
    explain_values,
    keys_in,
)
from tfrec.schema import AttributeKind, RequestRule

# jsonargparse would ask for the name of a member, `PATH`; files hold its value.
for _values in (AttributeKind, RequestRule):
    register_type(_values, deserializer=_values, fail_already_registered=False)

_USAGE = "%(prog)s --config FILE [--section.field VALUE ...]"
_EPILOG = (
    "Every field can be set in the file and overridden by its dotted name, for "
    "example `--retrieval.dropout 0.2 --data.split.protocol leave_one_out`. "
    "Lists are written `[a, b]`, nothing is written `null`. `--print_config` "
    "prints the resolved configuration, to be kept as a new file."
)


def load_config(argv: Sequence[str] | None, *, description: str) -> ExperimentConfig:
    """Reads the configuration of a command line.

    Args:
        argv: Arguments, `None` for those of the process.
        description: What the command does, for `--help`.

    Returns:
        The checked configuration. An invalid one is reported on stderr and ends
        the process with exit code 2.
    """
    config, _ = load_config_and_options(argv, description=description)
    return config


def load_config_and_options(
    argv: Sequence[str] | None,
    *,
    description: str,
    add_options: Callable[[ArgumentParser], None] | None = None,
) -> tuple[ExperimentConfig, Namespace]:
    """Reads a configuration and the further options of one command.

    Args:
        argv: Arguments, `None` for those of the process.
        description: What the command does, for `--help`.
        add_options: Adds the command's own options to the parser; their names
            must not be sections of the configuration.

    Returns:
        The checked configuration and all parsed values. An invalid one is
        reported on stderr and ends the process with exit code 2.
    """
    parser = _build_parser(description, add_options)
    try:
        return _parse(parser, sys.argv[1:] if argv is None else list(argv))
    except ConfigError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        sys.exit(2)


def read_config(path: Path | str) -> ExperimentConfig:
    """Reads a configuration file.

    Raises:
        ConfigError: If the file is missing, is no YAML, or holds unknown keys or
            values out of range.
    """
    config, _ = _parse(_build_parser("", None), ["--config", str(path)])
    return config


def save_config(config: ExperimentConfig, path: Path | str) -> None:
    """Writes the resolved configuration, every default included, as YAML."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True
    )
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class _HelpFormatter(DefaultHelpFormatter):
    """Writes `float, > 0` where jsonargparse writes `Annotated[float, Gt(gt=0)]`."""

    def _expand_help(self, action: Any) -> str:
        return _readable_types(super()._expand_help(action))


def _readable_types(text: str) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}

    def bounds(match: re.Match[str]) -> str:
        found = re.findall(r"\b(gt|ge|lt|le)=([-\d.]+)", match[2])
        return ", ".join([match[1], *(f"{signs[n]} {v}" for n, v in found)])

    text = " ".join(text.split())
    text = re.sub(r"Annotated\[([^,\[\]]+|tuple\[.*?\]), (.*?\))\]", bounds, text)
    text = re.sub(r"Optional\[([^\[\]]+)\]", r"\1", text)
    return re.sub(r"Literal\[([^\]]*)\]", r"one of \1", text)


def _build_parser(
    description: str, add_options: Callable[[ArgumentParser], None] | None
) -> ArgumentParser:
    parser = ArgumentParser(
        prog=_program_name(),
        usage=_USAGE,
        description=description,
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help="YAML file of the experiment. Given twice, the later one wins.",
    )
    if add_options:
        add_options(parser)
    parser.add_class_arguments(ExperimentConfig, None)
    for key, group in (parser.groups or {}).items():
        model = config_class(key)
        purpose = (model.__doc__ or "").strip().splitlines()[0].rstrip(".")
        group.title = f"{key}: {purpose}" if model is not ExperimentConfig else purpose
    return parser


def _program_name() -> str | None:
    """Returns `python -m tfrec.train`; None leaves it to the parser."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = getattr(spec, "name", "")
    if name.startswith("tfrec.") and name != "tfrec.__main__":
        return f"python -m {name}"
    return sys.argv[0] if sys.argv[0].startswith("tfrec ") else None


def _parse(
    parser: ArgumentParser, argv: list[str]
) -> tuple[ExperimentConfig, Namespace]:
    if argv and argv[0].endswith((".yaml", ".yml")):
        raise ConfigError(
            f"A configuration is given as `--config {argv[0]}`. Received: {argv[0]!r} "
            "alone."
        )
    for path in _config_paths(argv):
        _check_file(path)
    for option in (a[2:].split("=")[0] for a in argv if a.startswith("--")):
        section = option.split(".")[0]
        if "." in option and section in ExperimentConfig.model_fields:
            check_known(option.removesuffix(".help"))
    try:
        values = parser.parse_args(argv)
    except ArgumentError as error:
        raise ConfigError(explain(str(error))) from error
    data = _plain(values)
    known = {name: data[name] for name in ExperimentConfig.model_fields}
    try:
        return ExperimentConfig.model_validate(known), values
    except ValidationError as error:
        raise ConfigError(explain_values(error)) from error


def _plain(value: Any) -> Any:
    """Returns mappings and lists without the parser's own `Namespace`."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _config_paths(argv: Sequence[str]) -> Iterator[Path]:
    for i, argument in enumerate(argv):
        if argument == "--config" and i + 1 < len(argv):
            yield Path(argv[i + 1])
        elif argument.startswith("--config="):
            yield Path(argument.removeprefix("--config="))


def _check_file(path: Path) -> None:
    """Raises a `ConfigError` for what is wrong in the file whatever else is set."""
    if not path.is_file():
        raise ConfigError(f"Config file '{path}' does not exist.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Config file '{path}' is not valid YAML: {error}") from error
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"Config file '{path}' must hold `key: value` lines. "
            f"Received: {'an empty file' if data is None else type(data).__name__}."
        )
    try:
        for key in keys_in(data):
            check_known(key)
        ExperimentConfig.model_validate(data)
    except ConfigError as error:
        raise ConfigError(f"{error} (in '{path}')") from error
    except ValidationError as error:
        text = explain_values(error, ignore=("missing", "value_error"))
        if text:
            raise ConfigError(f"{text} (in '{path}')") from error
