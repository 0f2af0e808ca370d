"""Frozen, typed, validated configuration of an experiment; holds no TensorFlow."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tfrec.schema import AttributeKind, AttributeSpec, Schema


class _Config(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class TableConfig(_Config):
    """One table: where it lies and how it is written down.

    `sequences` is one line a user, `user item item ...`, oldest first.
    """

    paths: tuple[str, ...] = Field(
        description="Files or globs, relative to the current folder."
    )
    format: Literal["auto", "parquet", "csv", "jsonl", "sequences"] = Field(
        "auto", description="`auto` goes by the file name, `.gz` allowed."
    )
    delimiter: str = Field(",", description="Column separator of `csv`.")
    header: bool = Field(True, description="False: `columns` names them in order.")
    columns: tuple[str, ...] = Field((), description="Names for a file without header.")
    quote: str = Field('"', description="Quote character of `csv`; empty for none.")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.header and not self.columns:
            raise ValueError("`columns` must name the columns when `header` is false.")
        if not self.paths:
            raise ValueError("`paths` must name at least one file or glob.")
        return self


class EventColumns(_Config):
    """Which column of the event log plays which role; None where it is missing."""

    user_id: str = Field("user_id", description="Who: any string or number.")
    item_id: str = Field("item_id", description="What: any string or number.")
    event_type: str | None = Field(None, description="How: see `event_types`.")
    timestamp: str | None = Field(
        None, description="When; without it the order of the file counts."
    )
    session_id: str | None = Field(
        None, description="Without it `session_gap_minutes` parts sessions."
    )
    dwell_seconds: str | None = Field(None, description="Time spent on the item.")
    query: str | None = Field(None, description="Search text that led to the event.")
    position: str | None = Field(None, description="Place in the list, 1 is first.")
    impression_id: str | None = Field(None, description="The list that was shown.")
    quantity: str | None = Field(None, description="Units, of purchases.")
    price: str | None = Field(None, description="Price at the time of the event.")
    propensity: str | None = Field(
        None, description="Logged probability that the place was looked at."
    )


class ItemColumns(_Config):
    """Which column of the catalogue plays which role; None where it is missing."""

    item_id: str = Field("item_id", description="As in the event log.")
    title: str | None = Field(None, description="Name of the item, shown and learned.")


class AttributeConfig(_Config):
    """One attribute to learn from, of items or of the context."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Lower case letters, digits and _."
    )
    column: str | None = Field(None, description="Its column; None: same as `name`.")
    kind: AttributeKind = Field(
        AttributeKind.CATEGORICAL, description="How it is encoded."
    )
    separator: str = Field("/", description="Joins levels of a `path`, or `tags`.")
    max_levels: int = Field(4, ge=1, description="Levels, or tags, that are read.")

    @property
    def source_column(self) -> str:
        """The column that holds the attribute."""
        return self.column or self.name

    def spec(self) -> AttributeSpec:
        """Returns the attribute as the schema knows it."""
        return AttributeSpec(self.name, self.kind, self.separator, self.max_levels)


class RowFilter(_Config):
    """A condition on raw rows; rows that meet it are dropped and counted."""

    column: str = Field(description="Column of the raw table.")
    drop: Literal[
        "missing", "starts_with", "not_matches", "equals", "at_most", "below"
    ] = Field(description="`not_matches`: regular expression; `at_most`: a number.")
    value: str | float | None = Field(
        None, description="What the column is compared with; not for `missing`."
    )
    reason: str = Field("", description="Named in the manifest, e.g. cancellation.")


class CleaningConfig(_Config):
    """Which rows are dropped before anything is learned."""

    drop_rows: tuple[RowFilter, ...] = Field(
        (), description="Conditions on raw rows, such as cancellations."
    )
    duplicates: Literal["keep", "exact", "same_time"] = Field(
        "exact",
        description="`exact`: rows equal in every role are one; `same_time`: also "
        "rows of one user, item, type and time.",
    )
    min_user_events: int = Field(1, ge=1, description="k-core, with `min_item_events`.")
    min_item_events: int = Field(1, ge=1, description="Repeated until both hold.")
    max_reject_share: float = Field(
        0.01, ge=0, le=1, description="More unusable rows than this is an error."
    )


class SplitConfig(_Config):
    """How events are parted into training, validation and test.

    `leave_one_out`: per user the last target event is test, the one before is
    validation. `by_time`: one cut for all users; the last `test_days` are test,
    the `validation_days` before them validation.
    """

    protocol: Literal["leave_one_out", "by_time"] = Field(
        "by_time", description="`by_time` is the truth, the other is for papers."
    )
    validation_days: float = Field(7.0, gt=0, description="Days, of `by_time`.")
    test_days: float = Field(7.0, gt=0, description="Days, of `by_time`.")


class DataConfig(_Config):
    """From raw tables to a prepared dataset."""

    events: TableConfig
    items: TableConfig | None = Field(
        None, description="None: the catalogue is read off the events before the test."
    )
    prepared_dir: Path | None = Field(
        None, description="Prepared dataset; None: `prepared` in the run's folder."
    )
    event_columns: EventColumns = EventColumns()
    item_columns: ItemColumns = ItemColumns()
    item_attributes: tuple[AttributeConfig, ...] = ()
    context: tuple[AttributeConfig, ...] = Field(
        (), description="Event columns known with a request, e.g. country."
    )
    event_types: tuple[str, ...] = Field(
        ("event",), description="Weakest first. One name: no event type column needed."
    )
    target_event_types: tuple[str, ...] = Field(
        (), description="What is predicted; empty: all `event_types`."
    )
    head_event_types: tuple[str, ...] = Field(
        (), description="Get a ranking head; empty: `target_event_types`."
    )
    event_type_names: dict[str, str] = Field(
        {}, description="Raw value to event type, for example `pv: view`."
    )
    impression_event_type: str | None = Field(
        None, description="Raw type of rows that only say an item was shown."
    )
    timestamp_unit: Literal["auto", "seconds", "milliseconds"] = Field(
        "auto", description="`auto`: ISO 8601 text, date columns or seconds."
    )
    time_zone: str = Field("UTC", description="Of timestamps that state none.")
    session_gap_minutes: float = Field(
        30.0, gt=0, description="A longer pause starts a new session."
    )
    cleaning: CleaningConfig = CleaningConfig()
    split: SplitConfig = SplitConfig()
    num_shards: int = Field(4, ge=1, description="Files of the prepared sequences.")
    memory_limit_gb: float = Field(3.0, gt=0, description="For DuckDB.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.event_columns.event_type is None and len(self.event_types) != 1:
            raise ValueError(
                "`event_types` must have exactly one name when "
                "`event_columns.event_type` is not set. "
                f"Received: event_types={list(self.event_types)}."
            )
        if self.event_columns.timestamp is None and self.split.protocol == "by_time":
            raise ValueError(
                "`split.protocol=by_time` needs `event_columns.timestamp`. "
                "Set the column, or use `leave_one_out`."
            )
        self.build_schema()
        return self

    def build_schema(self, filters: tuple[str, ...] = ()) -> Schema:
        """Returns the schema that this configuration declares."""
        return Schema(
            event_types=self.event_types,
            target_event_types=self.target_event_types or self.event_types,
            head_event_types=self.head_event_types,
            item_attributes=tuple(a.spec() for a in self.item_attributes),
            context=tuple(a.spec() for a in self.context),
            filters=filters,
            has_timestamps=self.event_columns.timestamp is not None,
        )


class RetrievalConfig(_Config):
    """The two-tower retrieval model."""

    embedding_dim: int = Field(64, ge=2, description="Width of events and items.")
    max_history_length: int = Field(50, ge=1, description="Events that are read.")
    num_layers: int = Field(1, ge=0, description="Transformer blocks.")
    num_heads: int = Field(2, ge=1, description="Must divide `embedding_dim`.")
    feedforward_dim: int = Field(256, ge=1, description="Width inside a block.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of dropped units.")
    loss: Literal["softmax", "sampled_softmax"] = Field(
        "softmax",
        description="`softmax`: exact, over the catalogue, in chunks; "
        "`sampled_softmax`: in-batch and uniform negatives with logQ.",
    )
    num_sampled_negatives: int = Field(1024, ge=0, description="Uniform ones, shared.")
    temperature: float = Field(
        0.1, gt=0, description="Start value with normalised embeddings; it is learned."
    )
    softmax_chunk_size: int = Field(1024, ge=1, description="Positions a chunk.")
    repeat_bias: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Scores items of the history by when and how they were met; "
        "`auto`: on where at least 1 % of the training targets are repeats.",
    )
    use_request_time: bool = Field(
        True, description="The query sees the time since the last event."
    )
    id_dropout: float = Field(
        0.0, ge=0, lt=1, description="Items whose id is hidden, so attributes learn."
    )
    bias_start: float = Field(
        0.0, ge=0, description="Item bias starts at this times the log frequency."
    )
    simultaneous_events: Literal["ordered", "unordered"] = Field(
        "ordered",
        description="`unordered`: events of one time, a basket, do not predict one "
        "another; each is predicted from what was before them all.",
    )
    recency_half_life_days: float | None = Field(
        None, gt=0, description="Training weight of an event halves with this age."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide `embedding_dim`. Received: "
                f"num_heads={self.num_heads}, embedding_dim={self.embedding_dim}."
            )
        if self.repeat_bias == "on" and self.loss != "softmax":
            raise ValueError(
                "`repeat_bias=on` needs `loss=softmax`: sampled negatives hold too "
                "few known items to learn it. Use `auto` or `off`. "
                f"Received: loss={self.loss}."
            )
        return self


class RankingConfig(_Config):
    """The ranking model and its candidates."""

    num_candidates: int = Field(100, ge=1, description="Retrieved, then ranked.")
    hidden_dims: tuple[int, ...] = Field(
        (64,), description="Widths of the dense layers."
    )
    attribute_dim: int = Field(16, ge=1, description="Width of attribute embeddings.")
    attention_dim: int = Field(32, ge=1, description="Width of target attention.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of dropped units.")
    listwise_weight: float = Field(1.0, ge=0, description="Softmax over candidates.")
    pointwise_weight: float = Field(1.0, ge=0, description="Cross-entropy per head.")
    max_training_queries: int = Field(
        50_000, ge=1, description="Queries that candidates are mined for."
    )
    holdout_share: float = Field(
        0.2, gt=0, lt=1, description="Users of them that pick the best epoch."
    )
    head_weights: dict[str, float] = Field(
        {},
        description="Final order: weight of each head's probability; those not named "
        "have 1 if the type is a target, else 0.",
    )


class OptimizerConfig(_Config):
    """Adam with linear warm-up."""

    learning_rate: float = Field(1e-3, gt=0, description="After the warm-up.")
    warmup_steps: int = Field(100, ge=0, description="Steps of linear warm-up.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled, as in AdamW.")
    gradient_clip_norm: float | None = Field(
        1.0, gt=0, description="Greatest global norm; None does not clip."
    )


class StageConfig(_Config):
    """How long and in which batches one model is trained."""

    max_epochs: int = Field(30, ge=1, description="Upper bound of epochs.")
    patience: int = Field(5, ge=1, description="Epochs without a better validation.")
    global_batch_size: int = Field(
        6_400, ge=1, description="Events a step (retrieval) or candidates (ranking)."
    )
    min_steps_per_epoch: int = Field(
        50, ge=1, description="Small data get smaller batches, so that they learn."
    )
    optimizer: OptimizerConfig = OptimizerConfig()


class TrainingConfig(_Config):
    """Training of both models."""

    retrieval: StageConfig = StageConfig(
        global_batch_size=3_200, optimizer=OptimizerConfig(learning_rate=2e-3)
    )
    ranking: StageConfig = StageConfig(
        max_epochs=10, patience=2, optimizer=OptimizerConfig(weight_decay=0.01)
    )
    batching: Literal["packed", "bucketed"] = Field(
        "bucketed",
        description="`packed`: several histories a row; `bucketed`: like lengths.",
    )
    strategy: Literal[
        "auto", "default", "mirrored", "multi_worker", "parameter_server"
    ] = Field("auto", description="`auto`: what the machine has.")
    num_logical_devices: int | None = Field(
        None, ge=1, description="Parts the CPU into logical devices, for tests."
    )
    mixed_precision: bool = Field(
        False, description="bfloat16 inside the layers; weights stay float32."
    )
    finetune_epochs: int = Field(
        0,
        ge=0,
        description="Epochs on training + validation events after the best epoch "
        "was chosen, so that the newest items are known. Time split only.",
    )


class EvaluationConfig(_Config):
    """How quality is measured."""

    targets: Literal["next", "window"] = Field(
        "next",
        description="`next`: the first target event of a user's split; `window`: "
        "all distinct items of it.",
    )
    exclude_seen: bool = Field(False, description="Never recommend history items.")
    k: tuple[int, ...] = Field(
        (1, 5, 10, 20), min_length=1, description="List lengths of the metrics."
    )
    selection_metric: str = Field("NDCG@10", description="Picks the best epoch.")
    max_validation_queries: int = Field(
        10_000, ge=1, description="Drawn by seed; validation while training."
    )
    oracle_dir: Path | None = Field(
        None, description="Truth of a simulated shop; adds the oracle to the report."
    )
    num_bootstrap: int = Field(
        1000, ge=10, description="Resamples of users for the intervals."
    )
    baselines: tuple[str, ...] = Field(
        ("pop", "recent_pop", "repeat", "item_knn", "markov", "tfidf"),
        description="Reported beside the models; those without data are skipped.",
    )


class ExportConfig(_Config):
    """What is exported, and under which name."""

    model_name: str = Field(
        "tfrec", pattern=r"^[A-Za-z0-9_.-]+$", description="Name on the server."
    )
    model_dir: Path | None = Field(None, description="None: `model` in the run.")
    filters: tuple[str, ...] = Field((), description="Item attributes to filter by.")


class ExperimentConfig(_Config):
    """A whole experiment: data, both models, training, evaluation, export."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the experiment and its run."
    )
    seed: int = Field(0, description="Same seed on a CPU, same result.")
    run_dir: Path | None = Field(None, description="None: `runs/<name>`.")
    data: DataConfig
    retrieval: RetrievalConfig = RetrievalConfig()
    ranking: RankingConfig | None = Field(
        RankingConfig(), description="None: retrieval only."
    )
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()

    @property
    def run_path(self) -> Path:
        """Folder of the run."""
        return self.run_dir or Path("runs") / self.name

    @property
    def prepared_path(self) -> Path:
        """Folder of the prepared dataset."""
        return self.data.prepared_dir or self.run_path / "prepared"

    @property
    def model_path(self) -> Path:
        """Folder that holds `<model_name>/<version>/`."""
        return self.export.model_dir or self.run_path / "model"

    @property
    def experiment_schema(self) -> Schema:
        """The schema of data and requests."""
        return self.data.build_schema(self.export.filters)
