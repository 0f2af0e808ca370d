"""From raw tables to a prepared dataset, atomically."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from tfrec.config import ExperimentConfig
from tfrec.data.engine import open_engine
from tfrec.data.manifest import describe_fixed, describe_origin, find_differences
from tfrec.data.pipeline import Preparation
from tfrec.data.progress import Steps
from tfrec.data.store import OWN_ENCODERS, TEXT_DIR, PreparedDataset
from tfrec.run_record import write_json

MANIFEST = "manifest.json"
NUM_SHOWN_DIFFERENCES = 10


def prepare(config: ExperimentConfig, *, overwrite: bool = False) -> PreparedDataset:
    """Cleans, splits and writes the log of an experiment.

    A dataset that was made of the same files by the same data configuration is
    returned as it is. The folder appears when it is complete, or not at all.

    Args:
        config: Its `data` says what to read; `prepared_path` where to write.
        overwrite: Replaces a dataset that was made differently.

    Returns:
        The finished dataset.

    Raises:
        FileNotFoundError: If an input file is missing.
        FileExistsError: If the folder holds another dataset, or something else.
        ValueError: If the input cannot be used; says which and why.
        MemoryError: If `data.memory_limit_gb` does not suffice.
    """
    path = config.prepared_path
    origin = describe_origin(config)
    if path.exists() and not overwrite:
        return _reuse(path, config, origin)
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        manifest = _write(partial, config)
        write_json(partial / MANIFEST, {**describe_fixed(config), **origin, **manifest})
        _replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return PreparedDataset(path)


def _reuse(
    path: Path, config: ExperimentConfig, origin: dict[str, Any]
) -> PreparedDataset:
    if not (path / MANIFEST).is_file():
        raise FileExistsError(
            "`data.prepared_dir` must be a new folder or a prepared dataset. "
            f"Received: '{path}', which holds no {MANIFEST}. Name another "
            "folder, or remove it."
        )
    dataset = PreparedDataset(path)
    differences = find_differences(dataset.manifest, origin)
    if differences:
        shown = "\n".join(differences[:NUM_SHOWN_DIFFERENCES])
        raise FileExistsError(
            f"'{path}' must have been made from the same data. Received a dataset that "
            f"differs (there -> now):\n{shown}\nName another `data.prepared_dir`, or "
            "prepare again with `python -m tfrec.prepare --overwrite --config ...`."
        )
    schema = config.experiment_schema
    if dataset.schema != schema:  # Filters and heads are not of the data.
        fixed = {"schema": schema.to_json(), "schema_hash": schema.schema_hash}
        write_json(path / MANIFEST, {**dataset.manifest, **fixed})
        dataset = PreparedDataset(path)
    return dataset


def _check_replaceable(path: Path) -> None:
    """Refuses to remove a folder that is no dataset."""
    if not path.exists() or (path / MANIFEST).is_file():
        return
    if not path.is_dir() or any(path.iterdir()):
        raise FileExistsError(
            "`overwrite` replaces prepared datasets only. Received: "
            f"'{path}', which holds no {MANIFEST}. Name another folder, or remove it."
        )


def _write(folder: Path, config: ExperimentConfig) -> dict[str, Any]:
    work = folder / "work"
    work.mkdir()
    data = config.data
    try:
        engine = open_engine(
            work, memory_limit_gb=data.memory_limit_gb, time_zone=data.time_zone
        )
        try:
            with Steps(
                f"Preparing {config.name}", num_steps=Preparation.NUM_STEPS
            ) as steps:
                manifest = Preparation(engine, config, folder, steps).run()
        finally:
            engine.disconnect()
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(
            f"`data.memory_limit_gb` = {data.memory_limit_gb} must suffice for "
            f"DuckDB. Received: {error}. Raise it, or free space on the disk of "
            f"'{folder.parent}'."
        ) from error
    shutil.rmtree(work)
    return manifest


def _replace(partial: Path, path: Path) -> None:
    """Puts the finished folder in its place; an old one goes only then.

    The vectors of its texts stay: they are by text and encoder. An encoder of the
    shop's own goes, since the new data may be of another shop.
    """
    if not path.exists():
        partial.rename(path)
        return
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(old)
    partial.rename(path)
    if (old / TEXT_DIR).is_dir():
        for own in (old / TEXT_DIR).glob(f"{OWN_ENCODERS}*"):
            shutil.rmtree(own)
        (old / TEXT_DIR).rename(path / TEXT_DIR)
    shutil.rmtree(old)


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest of a prepared dataset."""
    return json.loads((path / MANIFEST).read_text(encoding="utf-8"))
