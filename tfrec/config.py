"""Frozen, typed, validated configuration of an experiment; holds no TensorFlow."""

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from tfrec.augmentation_config import AugmentationConfig, check_augmentation
from tfrec.data_config import (
    AttributeConfig,
    CleaningConfig,
    DataConfig,
    EventColumns,
    FrozenConfig,
    ItemColumns,
    RowFilter,
    SplitConfig,
    TableConfig,
)
from tfrec.order_config import FinalOrderConfig, resolve_formulas
from tfrec.ranking_config import RankingConfig, check_calibration, check_heads
from tfrec.retrieval_config import RetrievalConfig, SequenceEncoderName
from tfrec.schema import RequestRule, Schema
from tfrec.task_config import TaskConfig, check_tasks
from tfrec.text_config import TextConfig, check_text_fields
from tfrec.tune_config import SearchRange, TuneConfig

__all__ = [
    "AttributeConfig",
    "AugmentationConfig",
    "CleaningConfig",
    "DataConfig",
    "EvaluationConfig",
    "EventColumns",
    "ExperimentConfig",
    "ExportConfig",
    "FinalOrderConfig",
    "ItemColumns",
    "OptimizerConfig",
    "RankingConfig",
    "RetrievalConfig",
    "RowFilter",
    "SearchRange",
    "SequenceEncoderName",
    "SplitConfig",
    "StageConfig",
    "TableConfig",
    "TaskConfig",
    "TextConfig",
    "TrainingConfig",
    "TuneConfig",
]

FINETUNE_EPOCHS = 2  # With a split by time.


class OptimizerConfig(FrozenConfig):
    """Adam with linear warm-up, and a decay of the learning rate."""

    learning_rate: float = Field(1e-3, gt=0, description="After the warm-up.")
    warmup_steps: int = Field(100, ge=0, description="Steps of linear warm-up.")
    decay: Literal["none", "cosine"] = Field(
        "none",
        description="`cosine`: along half a cosine, nearly to 0 at `max_epochs`.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled, as in AdamW.")
    gradient_clip_norm: float | None = Field(
        1.0, gt=0, description="Greatest global norm; None does not clip."
    )


class StageConfig(FrozenConfig):
    """How long and in which batches one model is trained."""

    max_epochs: int = Field(30, ge=1, description="Upper bound of epochs.")
    patience: int = Field(5, ge=1, description="Epochs without a better validation.")
    global_batch_size: int = Field(
        6_400, ge=1, description="Events a step (retrieval) or candidates (ranking)."
    )
    min_steps_per_epoch: int = Field(
        50, ge=1, description="Small data get smaller batches, so that they learn."
    )
    average_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Moving average of the weights over steps, such as .999, that is "
        "validated, kept and exported in their place; None: none.",
    )
    optimizer: OptimizerConfig = OptimizerConfig()


class TrainingConfig(FrozenConfig):
    """Training of both models."""

    retrieval: StageConfig = StageConfig(
        global_batch_size=1_600,
        optimizer=OptimizerConfig(learning_rate=3e-3, decay="cosine"),
    )
    ranking: StageConfig = StageConfig(
        max_epochs=10, patience=2, optimizer=OptimizerConfig(weight_decay=0.01)
    )
    batching: Literal["packed", "bucketed"] = Field(
        "bucketed",
        description="`packed`: several histories a row; `bucketed`: like lengths.",
    )
    strategy: Literal["auto", "default", "mirrored", "multi_worker"] = Field(
        "auto", description="`auto`: what the machine, or TF_CONFIG, has."
    )
    num_logical_devices: int | None = Field(
        None, ge=1, description="Parts the CPU into logical devices, for tests."
    )
    mixed_precision: bool = Field(
        False, description="bfloat16 inside the layers; weights stay float32."
    )
    finetune_epochs: int | None = Field(
        None,
        ge=0,
        description="Epochs on training + validation events after the best epoch "
        "was chosen, so that the newest items are known. None: 2 with a split by "
        "time, else 0.",
    )


BaselineName = Literal["pop", "recent_pop", "repeat", "item_knn", "markov", "tfidf"]
# Of `evaluation`: what a report says, not what is trained or chosen.
REPORT_SETTINGS = ("k", "oracle_dir", "num_bootstrap", "baselines")


class EvaluationConfig(FrozenConfig):
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
    baselines: tuple[BaselineName, ...] = Field(
        get_args(BaselineName),
        description="Reported beside the models; those without data are skipped.",
    )

    @field_validator("k")
    @classmethod
    def _are_lengths(cls, k: tuple[int, ...]) -> tuple[int, ...]:
        if min(k) < 1:
            raise ValueError(
                f"`k` must be list lengths of at least 1. Received: {list(k)}."
            )
        return k


class ExportConfig(FrozenConfig):
    """What is exported, and under which name."""

    model_name: str = Field(
        "tfrec",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
        description="Name on the server.",
    )
    model_dir: Path | None = Field(None, description="None: `model` in the run.")
    filters: tuple[str, ...] = Field((), description="Item attributes to filter by.")
    caps: tuple[str, ...] = Field(
        (),
        description="Item attributes of whose values a request may ask for at most so "
        "many items in a list.",
    )
    rules: tuple[RequestRule, ...] = Field(
        (),
        description="What a request may say about the order: `order` (which formula), "
        "`weights` (of heads), `boost` and `bids` (of items), `must_include`, "
        "`diversity`. Each adds inputs, which every caller then has to send.",
    )


class ExperimentConfig(FrozenConfig):
    """A whole experiment: data, both models, training, evaluation, export."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
        description="Name of the experiment and its run.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Same seed on a CPU, same result.")
    run_dir: Path | None = Field(None, description="None: `runs/<name>`.")
    data: DataConfig
    text: TextConfig | None = Field(
        None, description="The language model that reads titles and searches."
    )
    retrieval: RetrievalConfig = RetrievalConfig()
    ranking: RankingConfig | None = Field(
        RankingConfig(), description="None: retrieval only."
    )
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
    tune: TuneConfig = TuneConfig()

    @model_validator(mode="after")
    def _augmentation_fits_the_log(self) -> Self:
        timestamp = self.data.event_columns.timestamp
        check_augmentation(self.retrieval.augmentation, timestamp)
        return self

    @model_validator(mode="after")
    def _sessions_need_times(self) -> Self:
        if self.text is None or self.text.sequence_unit == "event":
            return self
        if self.data.event_columns.timestamp is None:
            missing = "`data.event_columns.timestamp` is not set"
        elif not self.retrieval.use_event_times:
            missing = "`retrieval.use_event_times` is off"
        else:
            return self
        raise ValueError(
            "`text.sequence_unit=session` needs the times of events, which part "
            f"sessions. Received: {missing}. Choose `sequence_unit=event`."
        )

    @model_validator(mode="after")
    def _ranking_fits_retrieval(self) -> Self:
        if self.ranking is None:
            return self
        least, asked = self.retrieval.max_history_length, self.max_history_length
        if asked < least:
            raise ValueError(
                "`ranking.max_history_length` must be at least that of `retrieval`. "
                f"Received: {asked}, retrieval.max_history_length={least}. Raise it, "
                "or leave it out."
            )
        dim, heads = self.retrieval.embedding_dim, self.ranking.attention_heads
        if dim % heads:
            raise ValueError(
                "`ranking.attention_heads` must divide `retrieval.embedding_dim`. "
                f"Received: attention_heads={heads}, embedding_dim={dim}."
            )
        return self

    @property
    def max_history_length(self) -> int:
        """Events of a request that are read, by one of the models at least."""
        asked = None if self.ranking is None else self.ranking.max_history_length
        return self.retrieval.max_history_length if asked is None else asked

    @property
    def finetune_epochs(self) -> int:
        """Epochs on training and validation events, when all was chosen."""
        chosen = self.training.finetune_epochs
        if chosen is not None:
            return chosen
        # Leave-one-out is there to compare with papers, which do not.
        return FINETUNE_EPOCHS if self.data.split.protocol == "by_time" else 0

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
        return self.data.build_schema(
            self.export.filters,
            has_text=self.text is not None,
            has_ranking=self.ranking is not None,
            caps=self.export.caps,
            rules=tuple(rule.value for rule in self.export.rules),
            has_dwell=self.ranking is not None and self.ranking.dwell_weight > 0,
            has_interests=self.retrieval.num_interests > 1,
        )

    @model_validator(mode="after")
    def _texts_are_of_the_items(self) -> Self:
        if self.text is not None:
            check_text_fields(self.text.fields, self.experiment_schema.item_attributes)
        return self

    @model_validator(mode="after")
    def _final_order_fits(self) -> Self:
        if self.ranking is not None:
            resolve_formulas(self.ranking.final_order, self.experiment_schema)
        return self

    @model_validator(mode="after")
    def _tasks_fit_the_data(self) -> Self:
        if self.ranking is not None:
            check_tasks(self.ranking, self.experiment_schema)
            check_heads(self.ranking, self.experiment_schema)
            check_calibration(self.ranking, self.experiment_schema)
            has_times = self.data.event_columns.timestamp is not None
            if self.ranking.false_negative_days > 0 and not has_times:
                raise ValueError(
                    "`ranking.false_negative_days` above 0 needs "
                    "`data.event_columns.timestamp`. Received: "
                    f"false_negative_days={self.ranking.false_negative_days}. Name the "
                    "column, or set it to 0."
                )
            dwell = self.data.event_columns.dwell_seconds
            if self.ranking.dwell_weight > 0 and dwell is None:
                raise ValueError(
                    "`ranking.dwell_weight` above 0 needs "
                    "`data.event_columns.dwell_seconds`. Received: "
                    f"dwell_weight={self.ranking.dwell_weight}. Name the column, or "
                    "set the weight to 0."
                )
        return self
