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
from tfrec.ranking_config import RankingConfig, check_calibration
from tfrec.regulariser_config import RegulariserConfig, check_regulariser
from tfrec.schema import RequestRule, Schema
from tfrec.task_config import TaskConfig, check_tasks
from tfrec.text_config import TextConfig
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

SequenceEncoderName = Literal[
    "transformer", "ligr", "hstu", "gru", "bsarec", "mean", "bert4rec"
]


FINETUNE_EPOCHS = 2  # With a split by time.


# Encoders whose attention is a softmax, of which weights can be dropped.
ATTENTIVE = frozenset({"transformer", "ligr", "bsarec", "bert4rec"})


class RetrievalConfig(RegulariserConfig):
    """The two-tower retrieval model."""

    embedding_dim: int = Field(64, ge=2, description="Width of events and items.")
    max_history_length: int = Field(50, ge=1, description="Events that are read.")
    encoder: SequenceEncoderName = Field(
        "transformer",
        description="What reads the history: causal `transformer` (SASRec), gated "
        "`ligr`, time-aware `hstu`, recurrent `gru`, frequency filtering `bsarec`, "
        "the recency-weighted `mean`, or `bert4rec`, which reads both ways and is "
        "trained to fill gaps.",
    )
    cloze_mask_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="`bert4rec`: targets of a history that are masked and asked for; "
        "at least one.",
    )
    cloze_last_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="`bert4rec`: histories of which only the last target is masked, as "
        "it is in serving.",
    )
    num_interests: int = Field(
        1,
        ge=1,
        description="Vectors of a query, the best of which scores an item; more than "
        "1 costs as many times the softmax.",
    )
    num_layers: int = Field(1, ge=0, description="Blocks of the encoder.")
    num_heads: int = Field(2, ge=1, description="Must divide `embedding_dim`.")
    feedforward_dim: int = Field(
        256, ge=1, description="Width inside a block; `gru`: units; `hstu`: not used."
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of dropped units.")
    attention_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of dropped weights of attention; None: as `dropout`. For "
        "`transformer`, `ligr`, `bsarec` and `bert4rec`.",
    )
    loss: Literal["softmax", "sampled_softmax", "in_batch", "gbce", "bce"] = Field(
        "softmax",
        description="`softmax`: exact, over the catalogue, in chunks; "
        "`sampled_softmax`: in-batch and uniform negatives with logQ; `in_batch`: "
        "in-batch negatives with logQ; `gbce`: calibrated binary cross-entropy over "
        "uniform negatives; `bce`: the plain one.",
    )
    num_sampled_negatives: int = Field(
        1024,
        ge=1,
        description="`sampled_softmax`: draws from the catalogue, and at most as many "
        "from the batch; `gbce`: draws from the catalogue.",
    )
    num_bce_negatives: int = Field(
        1, ge=1, description="`bce`: uniform negatives of each target."
    )
    gbce_calibration: float = Field(
        0.75,
        ge=0,
        le=1,
        description="`gbce`: t; 0 is plain BCE, 1 corrects all of its overconfidence.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="`softmax`: share of the label that all items get alike.",
    )
    temperature: float = Field(
        0.1, gt=0, description="Start value with normalised embeddings; it is learned."
    )
    softmax_chunk_size: int | None = Field(
        None,
        ge=1,
        description="Positions a chunk of the exact softmax; None: as many as 48 MB "
        "of logits hold.",
    )
    repeat_bias: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Scores items of the history by when and how they were met; "
        "`auto`: on where at least 1 % of the training targets are repeats.",
    )
    transitions: bool = Field(
        False,
        description="Scores items by how often they came right after the newest ones; "
        "learned in fewer epochs. Needs `loss=softmax` and an encoder that reads "
        "forwards.",
    )
    use_request_time: bool = Field(
        True, description="The query sees the time since the last event."
    )
    use_event_times: bool = Field(
        True,
        description="Retrieval sees when events happened; false: their order alone, "
        "and no time of the request either.",
    )
    id_initializer: Literal["cooccurrence", "random"] = Field(
        "cooccurrence",
        description="What ids are before training: `cooccurrence`: alike where they "
        "stand near one another in histories, which spares most epochs.",
    )
    id_dropout: float = Field(
        0.0, ge=0, lt=1, description="Items whose id is hidden, so attributes learn."
    )
    new_item_budget: float | None = Field(
        0.01,
        ge=0,
        lt=1,
        description="Share of NDCG@10 on known items that items without a training "
        "event may cost by being listed; they are held back until it is no more. None "
        "leaves them where they are.",
    )
    query_text_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Searches hidden in training, so that a history alone suffices.",
    )
    bias_start: float = Field(
        0.0, ge=0, description="Item bias starts at this times the log frequency."
    )
    simultaneous_events: Literal["auto", "ordered", "unordered"] = Field(
        "auto",
        description="`unordered`: events of one time, a basket, do not predict one "
        "another; each is predicted from what was before them all. `auto`: so with "
        "a split by time, where most training events share their time with another.",
    )
    recency_half_life_days: float | None = Field(
        None,
        ge=0,
        description="Training weight of an event halves with this age; 0: all alike. "
        "None: by how fast what is popular changes in the training log; all alike "
        "where it hardly does, or without times.",
    )
    augmentation: AugmentationConfig = AugmentationConfig()

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
        fits = self.loss == "softmax" and self.encoder != "bert4rec"
        if self.transitions and not fits:
            raise ValueError(
                "`transitions=true` needs `loss=softmax` and an encoder other than "
                "`bert4rec`, which asks within a history. Leave it out. "
                f"Received: loss={self.loss}, encoder={self.encoder}."
            )
        if self.label_smoothing and self.loss != "softmax":
            raise ValueError(
                "`label_smoothing` needs `loss=softmax`; leave it at 0 for others. "
                f"Received: label_smoothing={self.label_smoothing}, loss={self.loss}."
            )
        if self.attention_dropout is not None and self.encoder not in ATTENTIVE:
            raise ValueError(
                f"`attention_dropout` is for the encoders {sorted(ATTENTIVE)}. "
                f"Received: encoder={self.encoder}. Leave it out: `dropout` holds for "
                "all."
            )
        check_regulariser(
            self,
            loss=self.loss,
            dropout=self.dropout,
            encoder=self.encoder,
            num_interests=self.num_interests,
        )
        if self.encoder == "bert4rec" and self.num_interests > 1:
            raise ValueError(
                "`num_interests` above 1 pools what came before a place, and "
                "`encoder=bert4rec` asks at its masks alone. Received: "
                f"num_interests={self.num_interests}. Take another encoder, or 1."
            )
        return self


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
    def _final_order_fits(self) -> Self:
        if self.ranking is not None:
            resolve_formulas(self.ranking.final_order, self.experiment_schema)
        return self

    @model_validator(mode="after")
    def _tasks_fit_the_data(self) -> Self:
        if self.ranking is not None:
            check_tasks(self.ranking, self.experiment_schema)
            check_calibration(self.ranking, self.experiment_schema)
            dwell = self.data.event_columns.dwell_seconds
            if self.ranking.dwell_weight > 0 and dwell is None:
                raise ValueError(
                    "`ranking.dwell_weight` above 0 needs "
                    "`data.event_columns.dwell_seconds`. Received: "
                    f"dwell_weight={self.ranking.dwell_weight}. Name the column, or "
                    "set the weight to 0."
                )
        return self
