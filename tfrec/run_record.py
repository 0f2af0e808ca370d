"""What a run was made with: configuration, schema, versions and commit."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config, save_config
from tfrec.schema import Schema

CONFIG_FILE = "config.yaml"
SCHEMA_FILE = "schema.json"
VERSIONS_FILE = "versions.json"
RETRIEVAL, RANKING = "retrieval", "ranking"  # Folders of the models.
FINISHED_FILE = "finished.json"  # In them, of a model that is trained to its end.
PACKAGES = (
    "tfrec",
    "tensorflow",
    "tf-keras",
    "tensorflow-recommenders",
    "tensorflow-text",
    "numpy",
    "scipy",
    "pyarrow",
    "duckdb",
    "ibis-framework",
    "pydantic",
    "jsonargparse",
    "grpcio",
    "protobuf",
    "tensorflow-serving-api",
)


def config_differences(
    wanted: ExperimentConfig, found: ExperimentConfig, *, ignored: Sequence[str] = ()
) -> list[str]:
    """Returns the fields that differ, such as `seed=0 (wanted 7)`.

    Args:
        wanted: A configuration.
        found: The other one, such as that of a run that is there.
        ignored: Fields and sections that may differ.
    """
    new, old = (dict(_flat(c.model_dump(mode="json"))) for c in (wanted, found))
    names = [name for name in {**new, **old} if new.get(name) != old.get(name)]
    return [
        f"{name}={old.get(name)!r} (wanted {new.get(name)!r})"
        for name in names
        if not any(f"{name}.".startswith(f"{section}.") for section in ignored)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def write_run_record(config: ExperimentConfig, run_path: Path | None = None) -> Path:
    """Writes configuration, schema and versions into the run's folder.

    Args:
        config: The resolved configuration.
        run_path: The folder, `None` for `config.run_path`. It is created; files
            of an earlier record in it are replaced.

    Returns:
        The folder.
    """
    path = Path(run_path or config.run_path)
    path.mkdir(parents=True, exist_ok=True)
    schema = config.experiment_schema
    save_config(config, path / CONFIG_FILE)
    write_json(path / SCHEMA_FILE, schema.to_json())
    write_json(
        path / VERSIONS_FILE,
        {**library_versions(), "schema_hash": schema.schema_hash, **git_state()},
    )
    return path


def read_run_record(run_path: Path) -> tuple[ExperimentConfig, Schema]:
    """Reads the configuration and schema of a run.

    Raises:
        FileNotFoundError: If the folder holds no run.
    """
    path = Path(run_path)
    missing = [n for n in (CONFIG_FILE, SCHEMA_FILE) if not (path / n).is_file()]
    if missing:
        raise FileNotFoundError(
            f"No run in '{path}': {' and '.join(missing)} missing. "
            "Run `python -m tfrec.train --config ...` first."
        )
    schema = Schema.from_json(json.loads((path / SCHEMA_FILE).read_text("utf-8")))
    return read_config(path / CONFIG_FILE), schema


def library_versions() -> dict[str, str | None]:
    """Returns versions of Python, the platform and the libraries, importing none.

    A library that is not installed has the value `None`.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "num_cpus": str(os.cpu_count()),
        **{name: _installed(name) for name in PACKAGES},
    }


def git_state() -> dict[str, Any]:
    """Returns the commit that tfrec runs from, and if files differ from it.

    Both are `None` outside of a checkout, for instance in an installed wheel.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {"git_commit": None, "git_dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    dirty = None if changes is None else bool(changes)
    return {"git_commit": commit, "git_dirty": dirty}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes JSON under a temporary name, then renames it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # There is one only after a failure.


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Returns what git prints; None if git is missing or refuses."""
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
