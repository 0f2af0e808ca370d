"""The manifest of a prepared dataset: what it was made from, and how it differs."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrec.config import ExperimentConfig
from tfrec.data.readers import find_files
from tfrec.data.store import FORMAT_VERSION
from tfrec.run_record import library_versions

TIE_RULE = (
    "Events of a user are ordered by time, to the microsecond; ties keep the order "
    "of the files (by name) and of the rows within a file."
)
# Where the result lies, how much memory it took and which types get a ranking head
# do not change what is written.
_NO_CONTENT = {"prepared_dir", "memory_limit_gb", "head_event_types"}
_PACKAGES = ("python", "tfrec", "duckdb", "ibis-framework", "pyarrow", "numpy")


def describe_origin(config: ExperimentConfig) -> dict[str, Any]:
    """Returns what decides the content: data configuration and input files."""
    data = config.data.model_dump(mode="json", exclude=_NO_CONTENT)
    if config.data.search_event_type is not None:  # Dropped where no text is read.
        data["reads_searches"] = config.text is not None
    text = json.dumps(data, sort_keys=True)
    inputs = {"events": _describe_files(config, "events")}
    if config.data.items is not None:
        inputs["items"] = _describe_files(config, "items")
    return {
        "data_config": data,
        "data_config_hash": hashlib.sha256(text.encode()).hexdigest()[:16],
        "inputs": inputs,
    }


def _describe_files(config: ExperimentConfig, table: str) -> list[dict[str, Any]]:
    files = find_files(getattr(config.data, table), name=f"data.{table}")
    return [
        {"path": file, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
        for file in files
        for stat in [Path(file).stat()]
    ]


def describe_fixed(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the parts of a manifest that no data is needed for."""
    schema = config.experiment_schema
    versions = library_versions()
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "schema": schema.to_json(),
        "schema_hash": schema.schema_hash,
        "tie_rule": TIE_RULE,
        "versions": {name: versions.get(name) for name in _PACKAGES},
    }


def find_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns a line per value that differs between two origins."""
    lines = []
    before = {**_flatten(old.get("data_config"), "data"), **_by_path(old)}
    after = {**_flatten(new["data_config"], "data"), **_by_path(new)}
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            received = f"{before.get(key)!r} -> {after.get(key)!r}"
            lines.append(f"  {key}: {received}")
    return lines


def _by_path(origin: dict[str, Any]) -> dict[str, Any]:
    files = [f for table in origin.get("inputs", {}).values() for f in table]
    return {f"file '{f['path']}'": _size_and_time(f) for f in files}


def _size_and_time(file: dict[str, Any]) -> str:
    return f"{file['bytes']} bytes, modified at {file['modified_ns'] / 1e9:.3f}"


def _flatten(value: Any, key: str) -> dict[str, Any]:
    return dict(_leaves(value, key))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{key}.{name}")
    else:
        yield key, value
