"""Frozen, typed configuration of the retrieval model."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tfrec.augmentation_config import AugmentationConfig
from tfrec.regulariser_config import RegulariserConfig, check_regulariser

SequenceEncoderName = Literal[
    "transformer", "ligr", "hstu", "gru", "bsarec", "mean", "bert4rec"
]
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
        description="Positions a chunk of the exact softmax; None: as many as 20 MB "
        "of logits hold, 64 at least.",
    )
    repeat_bias: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Scores items of the history by when and how they were met; "
        "`auto`: on where at least 1 % of the training targets are repeats.",
    )
    transitions: bool = Field(
        False,
        description="Gives a share of the probability to items that often came right "
        "after the newest ones; learned in fewer epochs. Needs `loss=softmax`, an "
        "encoder that reads forwards, and one interest.",
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
        "event may cost by being listed; their scores are moved until it is no more. "
        "None leaves them where they are.",
    )
    new_items_per_ten: int = Field(
        2,
        ge=1,
        le=10,
        description="How many of every ten places those items may take, the last ones "
        "of the ten; 10: any. Searches are not limited.",
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
        gt=0,
        description="Training weight of an event halves with this age; None: all "
        "alike.",
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
        if self.transitions and not (fits and self.num_interests == 1):
            raise ValueError(
                "`transitions=true` needs `loss=softmax`, `num_interests=1` and an "
                "encoder other than `bert4rec`, which asks within a history. Leave it "
                f"out. Received: loss={self.loss}, num_interests={self.num_interests}, "
                f"encoder={self.encoder}."
            )
        if self.label_smoothing and (self.loss != "softmax" or self.transitions):
            raise ValueError(
                "`label_smoothing` needs `loss=softmax` and `transitions=false`; leave "
                "it at 0 for others. Received: "
                f"label_smoothing={self.label_smoothing}, loss={self.loss}, "
                f"transitions={self.transitions}."
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
