"""Rows of the ranking table: named changes of a configuration's `ranking`."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfrec.config import ExperimentConfig, RankingConfig
from tfrec.schema import Schema

DEFAULT = "default"
LAMBDAMART, LOGISTIC = "lightgbm", "logistic"
RIVALS = (LAMBDAMART, LOGISTIC)
JOIN = "+"  # `cross+mmoe` makes both changes.
_FUSIONS = ("concat", "weighted", "additive", "gated", "cross", "bilinear")
# Chosen combinations: products of inputs with heads of their own, and with losses.
_COMBINATIONS = ("cross+mmoe", "cross+time_decay", "gated+mmoe", "cross+listmle")

_ATTENTION_LENGTH = 50  # Of longer histories, as in docs/fusion.md.


@dataclass(frozen=True)
class Row:
    """One configuration of the table.

    Attributes:
        name: Of the row; names joined by `+` make the changes of all of them.
        part: What it changes: `fusion`, `tasks`, `loss`, `history`, `lists`, or
            `combination`; `default` for the configuration as it is.
        changes: Fields of `ranking` with their values.
    """

    name: str
    part: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, config: ExperimentConfig) -> ExperimentConfig:
        """Returns the configuration with the changes, checked.

        Raises:
            pydantic.ValidationError: If they do not fit it.
        """
        values = config.model_dump()
        values["ranking"] = {**values["ranking"], **self.changes}
        return ExperimentConfig.model_validate(values)


def choose_rows(
    config: ExperimentConfig, names: Sequence[str] | None = None
) -> list[Row]:
    """Returns the rows to run, the default first.

    Args:
        config: The default; what changes nothing in it is no row.
        names: Rows and combinations to run; None for all that fit the data.

    Raises:
        ValueError: If a row is unknown, does not fit, or combines one field twice.
    """
    switches = {row.name: row for row in switch_rows(config)}
    if names is None:
        names = [*switches, *_fitting_combinations(switches)]
    rows = [Row(DEFAULT, DEFAULT)]
    rows += [_combined(name, switches) for name in names if name != DEFAULT]
    repeated = {row.name for row in rows if [r.name for r in rows].count(row.name) > 1}
    if repeated:
        raise ValueError(f"Rows must be distinct. Received twice: {sorted(repeated)}.")
    return rows


def switch_rows(config: ExperimentConfig) -> list[Row]:
    """Returns the rows of one switch each that fit the data and change something.

    Raises:
        ValueError: If the configuration has no ranking model.
    """
    if config.ranking is None:
        raise ValueError(
            "Ranking is compared where there is a ranking model. Received: "
            f"ranking=null of '{config.name}'. Use a configuration with `ranking`."
        )
    schema = config.experiment_schema
    heads = schema.head_event_types or schema.target_event_types
    rows = [
        *(Row(name, "fusion", {"fusion": name}) for name in _FUSIONS),
        *_task_rows(config, schema, heads),
        *_loss_rows(schema, heads, config.ranking),
        *_history_rows(config, config.ranking),
        *_list_rows(config, schema),
    ]
    return _distinct([_without_default(row, config.ranking) for row in rows])


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that change something, the first of those that change the same.

    Without the novel loss, for instance, the usual two losses are left.
    """
    found: list[Row] = []
    for row in rows:
        if row.changes and row.changes not in [one.changes for one in found]:
            found.append(row)
    return found


def _without_default(row: Row, settings: RankingConfig) -> Row:
    """Returns the row without what is the default anyway."""
    changes = {k: v for k, v in row.changes.items() if getattr(settings, k) != v}
    return replace(row, changes=changes)


def _task_rows(
    config: ExperimentConfig, schema: Schema, heads: Sequence[str]
) -> list[Row]:
    rows = [Row("task_towers", "tasks", {"task_dims": (32,)})]
    if len(heads) > 1:
        names = ("shared_bottom", "mmoe", "ple")
        rows = [*(Row(n, "tasks", {"task_layers": n}) for n in names), *rows]
        rows.append(Row("uncertainty", "tasks", {"uncertainty_weights": True}))
    # What is learned from lists presumes what was learned from them before.
    if len(schema.shown_head_types) > 1:
        order = sorted(schema.shown_head_types, key=schema.event_types.index)
        rows.append(Row("funnel", "tasks", {"funnel": tuple(order)}))
    if config.data.event_columns.dwell_seconds is not None:
        rows.append(Row("dwell", "tasks", {"dwell_weight": 0.2}))
    return rows


def _loss_rows(
    schema: Schema, heads: Sequence[str], settings: RankingConfig
) -> list[Row]:
    off = ("pairwise_weight", "listwise_weight", "listmle_weight", "novel_weight")
    both = {**dict.fromkeys(off, 0.0), "pointwise_weight": 1.0}
    # Gains are refused where no loss of order reads them.
    ungraded: dict[str, Any] = {"event_gains": {}} if settings.event_gains else {}
    novel = Row("novel", "loss", {"novel_weight": 1.0})
    if settings.novel_weight > 0.0:
        others = [getattr(settings, name) for name in off if name != "novel_weight"]
        left = {} if any(others) else ungraded
        novel = Row("without_novel", "loss", {"novel_weight": 0.0, **left})
    rows = [
        novel,
        Row("pointwise", "loss", {**both, **ungraded}),
        Row("listwise", "loss", {**both, "pointwise_weight": 0.0, **_on("listwise")}),
        Row("pointwise_listwise", "loss", {**both, **_on("listwise")}),
        Row("pointwise_pairwise", "loss", {**both, **_on("pairwise")}),
        Row("listmle", "loss", {**both, **_on("listmle")}),
    ]
    if len(heads) > 1:
        order = sorted(heads, key=schema.event_types.index)  # Weakest first.
        gains = {head: float(place) for place, head in enumerate(order, start=1)}
        rows.append(Row("graded", "loss", {"event_gains": gains}))
    return rows


def _on(loss: str) -> dict[str, float]:
    return {f"{loss}_weight": 1.0}


def _history_rows(config: ExperimentConfig, settings: RankingConfig) -> list[Row]:
    decay: dict[str, Any] = {"time_decay": True}
    widths = (settings.attention_dim, config.retrieval.embedding_dim)
    if settings.attention_heads == 1 and not any(width % 4 for width in widths):
        decay["attention_heads"] = 4  # Spans of time.
    rows = [Row("time_decay", "history", decay)]
    attended = settings.attention_length or _ATTENTION_LENGTH
    if config.max_history_length > attended:  # Of shorter ones all is found.
        rows += [
            Row(
                f"search_{way}",
                "history",
                {"attention_length": attended, "history_search": way},
            )
            for way in ("request", "candidate")
        ]
    return rows


def _list_rows(config: ExperimentConfig, schema: Schema) -> list[Row]:
    rows = [Row("false_negatives", "lists", {"false_negative_days": 7.0})]
    if config.data.impression_event_type is None or not schema.shown_head_types:
        return rows  # No list that was shown teaches anything.
    rows.append(Row("no_impressions", "lists", {"impression_share": 0.0}))
    rows.append(Row("unshown_negatives", "lists", {"unshown": "negative"}))
    columns = config.data.event_columns
    if columns.position is not None:
        rows.append(Row("examination", "lists", {"position_bias": "examination"}))
    if columns.propensity is not None:
        rows.append(Row("propensity", "lists", {"position_bias": "propensity"}))
    return rows


def _fitting_combinations(switches: Mapping[str, Row]) -> list[str]:
    return [name for name in _COMBINATIONS if set(name.split(JOIN)) <= set(switches)]


def _combined(name: str, switches: Mapping[str, Row]) -> Row:
    parts = name.split(JOIN)
    unknown = [part for part in parts if part not in switches]
    if unknown:
        raise ValueError(
            f"Rows must be some of {list(switches)}, or several joined by {JOIN!r}. "
            f"Received: {unknown}. Others do not fit this data, or are the default or "
            "another row."
        )
    if len(parts) == 1:
        return switches[name]
    changes: dict[str, Any] = {}
    for part in parts:
        twice = sorted(set(changes) & set(switches[part].changes))
        if twice:
            raise ValueError(
                f"The row '{name}' must set every field once. Received: {twice} twice."
            )
        changes |= switches[part].changes
    return Row(name, "combination", changes)


def check_installed() -> None:
    """Checks that LightGBM is there before anything is trained.

    Raises:
        ModuleNotFoundError: If it is not.
    """
    try:
        importlib.import_module("lightgbm")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "The rival 'lightgbm' needs the package LightGBM, which is not installed. "
            "Run `pip install -c constraints.txt -e '.[benchmarks]'`, or leave the "
            "rival out with `--rivals logistic`."
        ) from error
