"""Writes the next version of a model with a changed catalogue, without training."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from export.exporter import EXTRA_DIR, ExportReport, export_with_report
from export.version_folder import list_versions
from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.changed_catalogue import read_changed_items, read_removed_ids
from tfrec.data.refreshed import CatalogueChange, RefreshedDataset, change_catalogue
from tfrec.data.store import PreparedDataset
from tfrec.run_record import CONFIG_FILE, write_json
from tfrec.training.refreshed import refresh_recommender
from tfrec.training.run import load_recommender

CATALOGUE_FILE = "catalogue.parquet"
REFRESH_FILE = "refresh.json"


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did.

    Attributes:
        base: The version it built on; None for the catalogue of the training.
        change: What is different.
        export: The new version; None where nothing is different.
        seconds: Wall time per step, in the order of the steps.
    """

    base: int | None
    change: CatalogueChange
    export: ExportReport | None
    seconds: dict[str, float]


def refresh(
    run: Path,
    *,
    items: Path | None = None,
    removed: Path | None = None,
    complete: bool = False,
    model_dir: Path | None = None,
    version: int | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    warn: Callable[[str], None] = lambda text: None,
) -> RefreshReport:
    """Writes the next version with a changed catalogue.

    It builds on the newest version, if that is of the same training, else on the
    catalogue of the training. Nothing is written where nothing would be different
    from the newest version.

    Args:
        run: Folder of the run.
        items: New and changed items, in the columns of `data.items`.
        removed: Ids of items that are gone, one a line.
        complete: Whether `items` is everything: items it lacks are gone, too.
        model_dir: Folder that holds `<model_name>/`; None for that of the run.
        version: Number of the version; None for the next free one.
        on_step: Called with the name of each step before it starts.
        warn: Is told of rows and values that were usable only in part, and of
            columns without any value.

    Raises:
        ExportGateError: If the written model fails a gate; nothing is left of it.
        FileNotFoundError: If the run or a file is not there.
        FileExistsError: If the version exists.
        ValueError: If the change cannot be used.
    """
    clock = _Clock(on_step)
    clock.start("reading the change")
    config = _read_run_config(run)
    trained = PreparedDataset(config.prepared_path)
    parent = (model_dir or config.model_path) / config.export.model_name
    fingerprint = fingerprint_of(run)
    base, catalogue = _latest_catalogue(parent, trained, fingerprint)
    change = _read_change(
        config, catalogue, items=items, removed=removed, complete=complete, warn=warn
    )
    if change.is_empty and base is not None:
        return RefreshReport(base, change, None, clock.stop())
    clock.start("loading the trained models")
    recommender, trained, config = load_recommender(run)
    clock.start("computing new items")
    dataset = RefreshedDataset(trained, change.items)
    refreshed = refresh_recommender(recommender, dataset, config)

    def write_state(folder: Path) -> None:
        pq.write_table(change.items, folder / CATALOGUE_FILE, compression="zstd")
        write_json(folder / REFRESH_FILE, _describe(change, base, fingerprint))

    clock.start("writing the model")
    report = export_with_report(
        refreshed,
        dataset,
        config,
        version=version,
        model_dir=model_dir,
        on_step=clock.start,
        write_more=write_state,
    )
    return RefreshReport(base, change, report, clock.stop())


def fingerprint_of(run: Path) -> str:
    """Returns a hash of the trained weights of a run."""
    digest = hashlib.sha256()
    for path in sorted(run.glob("r*/best/weights-*")):
        digest.update(str(path.relative_to(run)).encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class _Clock:
    """Times the steps, and tells their names."""

    def __init__(self, on_step: Callable[[str], None]) -> None:
        self._on_step = on_step
        self._name: str | None = None
        self._began = 0.0
        self._seconds: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Ends the step before and starts one."""
        self.stop()
        self._name, self._began = name, time.monotonic()
        self._on_step(name)

    def stop(self) -> dict[str, float]:
        """Ends the last step; returns the seconds of all."""
        if self._name is not None:
            spent = time.monotonic() - self._began
            self._seconds[self._name] = self._seconds.get(self._name, 0.0) + spent
            self._name = None
        return self._seconds


def _read_run_config(run: Path) -> ExperimentConfig:
    if not (run / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"No run in '{run}': {CONFIG_FILE} is missing. Name the folder that "
            "`python -m tfrec.train` wrote."
        )
    return read_config(run / CONFIG_FILE).model_copy(update={"run_dir": run})


def _read_change(
    config: ExperimentConfig,
    catalogue: pa.Table,
    *,
    items: Path | None,
    removed: Path | None,
    complete: bool,
    warn: Callable[[str], None],
) -> CatalogueChange:
    if items is None and (complete or removed is None):
        raise ValueError(
            "A refresh needs `--items`, or `--remove` alone. Received "
            f"{'--complete' if complete else 'neither'}."
        )
    for path in (items, removed):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"There is no file '{path}'.")
    return change_catalogue(
        catalogue,
        None if items is None else read_changed_items(config.data, items, warn=warn),
        removed=() if removed is None else read_removed_ids(removed),
        complete=complete,
        warn=warn,
    )


def _latest_catalogue(
    parent: Path, trained: PreparedDataset, fingerprint: str
) -> tuple[int | None, pa.Table]:
    """Returns the newest version and its catalogue, if it is of this training."""
    versions = list_versions(parent)
    if versions:
        folder = parent / str(versions[-1]) / EXTRA_DIR
        state = folder / REFRESH_FILE
        if state.is_file() and (folder / CATALOGUE_FILE).is_file():
            found = json.loads(state.read_text(encoding="utf-8"))
            if found.get("fingerprint") == fingerprint:
                return versions[-1], pq.read_table(folder / CATALOGUE_FILE)
    return None, trained.items


def _describe(
    change: CatalogueChange, base: int | None, fingerprint: str
) -> dict[str, Any]:
    return {
        "base": base,
        "fingerprint": fingerprint,
        "added": change.num_added,
        "changed": change.num_changed,
        "removed": change.num_removed,
        "restored": change.num_restored,
    }
