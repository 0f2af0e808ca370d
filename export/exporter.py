"""Writes a trained recommender as one version of a SavedModel."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.branches import keep_branches_apart
from export.dense_reads import use_dense_reads
from export.gates import GateResult, run_gates
from export.model_card import write_model_card
from export.requests import RequestSampler
from export.same_signatures import join_signatures
from export.signatures import ServingModule
from export.version_folder import Draft, new_version
from export.warmup import BATCH_SIZES, served_names, write_warmup
from export.written_graph import written_graph
from tfrec.config import ExperimentConfig
from tfrec.config_file import save_config
from tfrec.data.store import PreparedDataset
from tfrec.models.final_order import build_final_order
from tfrec.models.recommender_interface import Recommender
from tfrec.run_record import CONFIG_FILE, SCHEMA_FILE, write_json
from tfrec.schema import Schema

EXTRA_DIR = "assets.extra"
MODEL_CARD_FILE = "model_card.md"
METRICS_FILE = "metrics.json"


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote and checked.

    Attributes:
        path: Folder of the version.
        version: Its number.
        schema: The schema of its signatures.
        gates: Every gate; all were passed.
        num_bytes: Size of all files.
        seconds: Wall time.
    """

    path: Path
    version: int
    schema: Schema
    gates: list[GateResult]
    num_bytes: int
    seconds: float

    @property
    def signatures(self) -> list[tuple[str, int, int]]:
        """Per exported name, how many inputs and outputs it has."""
        return [
            (
                served_name,
                len(self.schema.signature_inputs(name)),
                len(self.schema.signature_outputs(name)),
            )
            for name in self.schema.signatures
            for served_name in served_names(name)
        ]


def export_model(
    recommender: Recommender,
    dataset: PreparedDataset,
    config: ExperimentConfig,
    *,
    version: int | None = None,
    model_dir: Path | None = None,
) -> Path:
    """Exports a recommender; see `export_with_report` for the arguments.

    Returns:
        The folder of the version, `<model_dir>/<model_name>/<version>`.
    """
    report = export_with_report(
        recommender, dataset, config, version=version, model_dir=model_dir
    )
    return report.path


def export_with_report(
    recommender: Recommender,
    dataset: PreparedDataset,
    config: ExperimentConfig,
    *,
    version: int | None = None,
    model_dir: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    write_more: Callable[[Path], None] = lambda folder: None,
) -> ExportReport:
    """Exports a recommender and tells what was checked.

    Args:
        recommender: The trained models.
        dataset: The prepared dataset they were trained on.
        config: The experiment; its run's `metrics.json` goes into the model card.
        version: Number of the version; `None` for the next free one.
        model_dir: Folder that holds `<model_name>/`; `None` for
            `config.model_path`.
        on_step: Called with the name of each step before it starts.
        write_more: Writes further files into the folder `assets.extra`.

    Raises:
        ExportGateError: If the written model fails a gate; nothing is left of it.
        FileExistsError: If the version exists; nothing is changed.
        ValueError: If recommender, dataset and configuration do not fit.
    """
    started = time.monotonic()
    schema = _as_read(recommender, export_schema(dataset, config))
    parent = (model_dir or config.model_path) / config.export.model_name
    with (
        new_version(parent, version) as draft,
        tempfile.TemporaryDirectory() as asset_dir,
    ):
        on_step("building the signatures")
        final_order = build_final_order(config, dataset)
        module = ServingModule(
            recommender,
            dataset,
            schema=schema,
            asset_dir=Path(asset_dir),
            final_order=final_order if schema.order_features else None,
            event_type_names=config.data.event_type_names,
        )
        _save(module, draft.path)
        on_step("writing warm-up requests and the model card")
        sampler = RequestSampler(
            schema,
            dataset,
            recommender.max_history_length,
            module.filter_examples,
            order_names=() if final_order is None else tuple(final_order.formulas),
        )
        warmup_path = _write_extra(draft, config, dataset, sampler)
        write_more(draft.path / EXTRA_DIR)
        on_step("checking the written model")
        gates = run_gates(
            module,
            draft.path,
            requests=sampler.parity_requests(),
            warmup_path=warmup_path,
        )
    seconds = time.monotonic() - started
    path = draft.final_path
    num_bytes = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return ExportReport(path, draft.version, schema, gates, num_bytes, seconds)


def export_schema(dataset: PreparedDataset, config: ExperimentConfig) -> Schema:
    """Returns the schema of the export: that of the data, with the filters.

    Raises:
        ValueError: If the data were prepared with another configuration.
    """
    schema = config.experiment_schema
    prepared = dataclasses.replace(
        dataset.schema,
        filters=schema.filters,
        has_text=schema.has_text,
        has_ranking=schema.has_ranking,
        caps=schema.caps,
        rules=schema.rules,
        has_dwell=schema.has_dwell,
        has_interests=schema.has_interests,
    )
    if prepared != schema:
        names = [
            field.name
            for field in dataclasses.fields(schema)
            if getattr(prepared, field.name) != getattr(schema, field.name)
        ]
        raise ValueError(
            "`config` must declare what `dataset` was prepared with. Received: "
            f"'{dataset.path}' differs in {names}. Prepare the data again or export "
            "with the configuration of the run."
        )
    return schema


def _as_read(recommender: Recommender, schema: Schema) -> Schema:
    """Returns the schema of a model without texts where requests' are not read.

    A language model may have given vectors to items and yet not be able to split the
    texts of requests in the graph.
    """
    reads_texts = not isinstance(recommender.encode_texts(tf.constant([""])), tuple)
    return dataclasses.replace(schema, has_text=schema.has_text and reads_texts)


def _save(module: ServingModule, path: Path) -> None:
    functions = module.concrete_functions()
    signatures = {
        served_name: function
        for name, function in functions.items()
        for served_name in served_names(name)
    }
    try:
        tf.saved_model.save(module, str(path), signatures=signatures)
    except tf.errors.OpError as error:
        raise OSError(
            f"The model could not be written to '{path}': {error.message}. Nothing is "
            "left of it. See to it that the disk has room and the folder is writable."
        ) from error
    with written_graph(path) as model:
        use_dense_reads(model)
        keep_branches_apart(model)
        for name in functions:
            join_signatures(model, served_names(name))


def _write_extra(
    draft: Draft,
    config: ExperimentConfig,
    dataset: PreparedDataset,
    sampler: RequestSampler,
) -> Path:
    """Writes what stands beside the graph; returns the warm-up file."""
    folder = draft.path / EXTRA_DIR
    folder.mkdir()
    schema = sampler.schema
    write_json(folder / SCHEMA_FILE, schema.to_json())
    save_config(config, folder / CONFIG_FILE)
    card = write_model_card(
        config,
        dataset,
        schema=schema,
        version=draft.version,
        metrics=_read_metrics(config.run_path / METRICS_FILE),
    )
    (folder / MODEL_CARD_FILE).write_text(card, encoding="utf-8")
    requests = sampler.warmup_requests(BATCH_SIZES)
    return write_warmup(requests, folder, model_name=config.export.model_name)


def _read_metrics(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return metrics if isinstance(metrics, Mapping) else {"metrics": metrics}
