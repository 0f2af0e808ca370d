"""Configuration of the ranking model and its candidates."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from tfrec.order_config import FinalOrderConfig, head_weights
from tfrec.schema import AttributeKind, Schema
from tfrec.task_config import TaskConfig


class RankingConfig(TaskConfig):
    """The ranking model and its candidates."""

    num_candidates: int = Field(100, ge=1, description="Retrieved, then ranked.")
    hidden_dims: tuple[PositiveInt, ...] = Field(
        (64,), description="Widths of the dense layers."
    )
    attribute_dim: int = Field(16, ge=1, description="Width of attribute embeddings.")
    attention_dim: int = Field(32, ge=1, description="Width of target attention.")
    attention_heads: int = Field(
        1, ge=1, description="Must divide `attention_dim` and `embedding_dim`."
    )
    time_decay: bool = Field(
        False,
        description="Target attention knows event types, and past events fade, at "
        "rates that are learned per type and head.",
    )
    attention_length: int | None = Field(
        None,
        ge=1,
        description="Events that are attended to; of a longer history the most "
        "relevant. None: all.",
    )
    history_search: Literal["request", "candidate"] = Field(
        "request",
        description="How those are found: `request`: once, nearest to the query; "
        "`candidate`: for every candidate its nearest.",
    )
    max_history_length: int | None = Field(
        None,
        ge=1,
        description="Events that ranking reads, at least as many as retrieval. "
        "None: as many.",
    )
    fusion: Literal["concat", "weighted", "additive", "gated", "cross", "bilinear"] = (
        Field(
            "cross",
            description="How query, item, history, attributes and context become one: "
            "side by side, by attribute importance, as a sum of scores, behind gates, "
            "multiplied to a degree (DCN-v2), or in pairs (FiBiNET).",
        )
    )
    attribute_fields: bool | None = Field(
        None,
        description="Embeds every attribute of items on its own. None: with every "
        "fusion but `concat`.",
    )
    cross_layers: int = Field(2, ge=1, description="Layers of the fusion `cross`.")
    cross_dim: int | None = Field(
        64, ge=1, description="Rank of its matrices; None: full."
    )
    number_bins: int = Field(
        12,
        ge=0,
        description="Bins that comparisons, neighbours and other numbers are encoded "
        "in, so that dense layers may bend where a tree would split; 0: as they are.",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of dropped units.")
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
    final_order: FinalOrderConfig = FinalOrderConfig()
    calibration: Literal["none", "temperature", "platt", "bent", "isotonic"] = Field(
        "bent",
        description="How probabilities are made right on held-out users: a factor of "
        "the logits, a factor and a shift, two factors and a shift, or any rising "
        "curve. Heads with little data get a simpler one.",
    )
    calibration_slice: str | None = Field(
        None,
        description="A curve for each value of a categorical context attribute, or "
        "with `shopper` for those with and without a history, where there are enough "
        "data. None: one for all.",
    )

    @property
    def reads_attributes(self) -> bool:
        """Whether attributes of items are fields of their own."""
        if self.attribute_fields is None:
            return self.fusion != "concat"
        return self.attribute_fields

    @model_validator(mode="after")
    def _task_layers_have_a_place(self) -> Self:
        of_tasks = self.task_layers != "shared_bottom" or bool(self.task_dims)
        if self.fusion == "additive" and of_tasks:
            raise ValueError(
                "`ranking.fusion=additive` gives the logits of all heads: there are no "
                f"layers of tasks. Received: task_layers={self.task_layers}, "
                f"task_dims={list(self.task_dims)}. Leave both out, or choose another "
                "fusion."
            )
        if self.task_layers != "shared_bottom" and not self.hidden_dims:
            raise ValueError(
                f"`ranking.task_layers={self.task_layers}` needs `hidden_dims`, the "
                "widths of an expert. Received: none. Name one at least."
            )
        return self

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.attention_dim % self.attention_heads:
            raise ValueError(
                "`attention_heads` must divide `attention_dim`. Received: "
                f"attention_heads={self.attention_heads}, "
                f"attention_dim={self.attention_dim}."
            )
        return self


def check_heads(config: RankingConfig, schema: Schema) -> None:
    """Checks that the final order is one of heads that there are.

    Raises:
        ValueError: If a weight names no head, no head has a weight, or formulas would
            call two heads by one name.
    """
    heads = list(schema.head_event_types or schema.target_event_types)
    stray = [t for t in config.head_weights if t not in heads]
    if stray:
        raise ValueError(
            "`ranking.head_weights` must name event types that have a head: "
            f"{heads}. Received: {stray}. Add them to `data.head_event_types`, or take "
            "them out."
        )
    if not any(head_weights(config.head_weights, schema).values()):
        raise ValueError(
            "One of `ranking.head_weights` must not be 0, else all items are alike. "
            f"Received: {config.head_weights}, target_event_types="
            f"{list(schema.target_event_types)}."
        )
    if len(set(schema.head_names)) < len(heads):
        raise ValueError(
            "Formulas must have a name for each head. Received: "
            f"`data.head_event_types` {heads}, which are {list(schema.head_names)} "
            "there. Rename one by `data.event_type_names`."
        )


SHOPPER = "shopper"  # The slice of shoppers with and without a history.


def check_calibration(config: RankingConfig, schema: Schema) -> None:
    """Checks that curves can be told apart as configured.

    Raises:
        ValueError: If the slice is no categorical context attribute.
    """
    names = [a.name for a in schema.context if a.kind == AttributeKind.CATEGORICAL]
    if config.calibration_slice not in (None, SHOPPER, *names):
        raise ValueError(
            f"`ranking.calibration_slice` must be `{SHOPPER}` or a categorical context "
            f"attribute: {names}. Received: {config.calibration_slice!r}. "
            "Declare it in `data.context`, or leave it out."
        )
