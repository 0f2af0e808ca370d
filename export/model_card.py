"""The model card: what a version was made from and how good it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.order_config import WEIGHT_PREFIX, head_weights, resolve_formulas
from tfrec.run_record import git_state, library_versions
from tfrec.schema import HISTORY_ITEM_IDS, Schema

_NOT_MEASURED = "Not measured: the run has no `metrics.json`."


def write_model_card(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    *,
    schema: Schema,
    version: int,
    metrics: Mapping[str, Any] | None,
) -> str:
    """Returns a model card in Markdown.

    Args:
        config: The experiment.
        dataset: The prepared data, for its counts.
        schema: The schema of the export.
        version: Number of the version.
        metrics: What the evaluation of the run wrote; `None` if it did not.
    """
    versions = {k: v for k, v in library_versions().items() if v is not None}
    sections = [
        f"# {config.export.model_name}, version {version}",
        _table(_identity(config, schema)),
        "## Data",
        _table(_flat(dataset.manifest.get("counts", {}))),
        "## Quality",
        _NOT_MEASURED if metrics is None else _table(_flat(metrics)),
        *_final_order(config, schema),
        "## Signatures",
        _signatures(schema),
        "## Made with",
        _table([*versions.items(), *_flat(git_state())]),
    ]
    return "\n\n".join(sections) + "\n"


def _identity(config: ExperimentConfig, schema: Schema) -> list[tuple[str, Any]]:
    two_stages = "retrieval" if config.ranking is None else "retrieval, then ranking"
    return [
        ("experiment", config.name),
        ("schema_hash", schema.schema_hash),
        ("stages", two_stages),
        ("events that are read", config.max_history_length),
        ("event types", ", ".join(schema.event_types)),
        *_searches(schema),
        ("predicted event types", ", ".join(schema.target_event_types)),
        ("filters", ", ".join(schema.filters) or "none"),
        ("caps", ", ".join(schema.caps) or "none"),
        ("rules of requests", ", ".join(schema.rules) or "none"),
        ("seed", config.seed),
    ]


def _final_order(config: ExperimentConfig, schema: Schema) -> list[str]:
    if config.ranking is None:
        return []
    order = config.ranking.final_order
    weights = head_weights(config.ranking.head_weights, schema)
    rows = [
        (f"{name} (default)" if name == order.default else name, f"`{formula.text}`")
        for name, formula in resolve_formulas(order, schema).items()
    ]
    rows += [(WEIGHT_PREFIX + head, weight) for head, weight in weights.items()]
    rows += [(f"missing {n}", value) for n, value in order.missing_values.items()]
    return ["## Final order", _table(rows)]


def _searches(schema: Schema) -> list[tuple[str, Any]]:
    if schema.search_event_type is None:
        return []
    carried = f"`{HISTORY_ITEM_IDS}` holds what was searched for"
    return [("event type of searches", f"{schema.search_event_type}: {carried}")]


def _signatures(schema: Schema) -> str:
    lines = ["| signature | inputs | outputs |", "|---|---|---|"]
    for name in schema.signatures:
        inputs = ", ".join(f"`{s.name}`" for s in schema.signature_inputs(name))
        outputs = ", ".join(f"`{s.name}`" for s in schema.signature_outputs(name))
        lines.append(f"| `{name}` | {inputs} | {outputs} |")
    return "\n".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields scalars of nested mappings, names joined by a dot."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float):
            yield prefix + name, value


def _table(rows: Any) -> str:
    lines = [f"| {name} | {_text(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
