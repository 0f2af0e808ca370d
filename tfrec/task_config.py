"""Frozen, typed configuration of what ranking predicts and learns from."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from tfrec.data_config import FrozenConfig
from tfrec.schema import Schema


class TaskConfig(FrozenConfig):
    """Heads, losses and candidates of the ranking model: a part of `RankingConfig`."""

    task_layers: Literal["shared_bottom", "mmoe", "ple"] = Field(
        "shared_bottom",
        description="What heads share: all dense layers; experts mixed by head "
        "(`mmoe`); shared experts and some of each head's own (`ple`).",
    )
    task_dims: tuple[PositiveInt, ...] = Field(
        (), description="Widths of dense layers of each head alone, behind the others."
    )
    num_experts: int = Field(4, ge=1, description="Shared experts of `mmoe`, `ple`.")
    num_task_experts: int = Field(1, ge=1, description="Experts of a head, of `ple`.")
    num_expert_levels: int = Field(1, ge=1, description="Layers of experts, of `ple`.")
    funnel: tuple[str, ...] = Field(
        (),
        description="Head event types of which each presumes the one before, for "
        "example [click, cart, purchase]: their heads become conditional "
        "probabilities. Empty: heads are independent.",
    )
    pointwise_weight: float = Field(1.0, ge=0, description="Cross-entropy per head.")
    pairwise_weight: float = Field(0.0, ge=0, description="Logistic loss of pairs.")
    listwise_weight: float = Field(1.0, ge=0, description="Softmax over candidates.")
    listmle_weight: float = Field(
        0.0, ge=0, description="Likelihood of the order by graded relevance."
    )
    novel_weight: float = Field(
        0.0,
        ge=0,
        description="Softmax over the candidates that the history does not hold. For "
        "shops whose customers repeat themselves: repeats are easy, and alone they "
        "would say little about the order of what is new.",
    )
    event_gains: dict[str, float] = Field(
        {},
        description="Graded relevance: what a positive is worth in the losses of order "
        "if this was the strongest that followed, for example {cart: 2, purchase: 4}; "
        "above 0. Types not named: 1.",
    )
    loss_weights: dict[str, float] = Field(
        {}, description="Weight of a head's losses by event type; not named: 1."
    )
    uncertainty_weights: bool = Field(
        False, description="Learns one more weight per head from its noise."
    )
    dwell_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of predicting the dwell; 0: no such head. Needs "
        "`data.event_columns.dwell_seconds`.",
    )
    position_bias: Literal["none", "examination", "propensity"] = Field(
        "none",
        description="Places of shown lists: not regarded; chance of being seen learned "
        "(`examination`); logged chance divides (`propensity`). Off at serving.",
    )
    num_positions: int = Field(
        50, ge=2, description="Places told apart by `examination`; the last for more."
    )
    min_propensity: float = Field(
        0.1, gt=0, le=1, description="Lower bound of a logged chance of being seen."
    )
    impression_share: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Greatest share of shown lists among those learned from; the "
        "others are retrieved. None: all there are.",
    )
    unshown: Literal["unknown", "negative"] = Field(
        "unknown",
        description="What a retrieved candidate teaches the heads of shown lists: "
        "nothing, with or without the event, since it may not have been seen; or that "
        "without the event it is a negative, as where there are no shown lists.",
    )
    false_negative_days: float = Field(
        0.0,
        ge=0,
        description="A candidate that gets the event within so many days after its "
        "request, though not through it, is no negative. 0: it is one.",
    )

    @model_validator(mode="after")
    def _learns(self) -> Self:
        weights = (
            self.pointwise_weight,
            self.pairwise_weight,
            self.listwise_weight,
            self.listmle_weight,
            self.novel_weight,
        )
        if not any(weights):
            raise ValueError(
                "One of the weights of the ranking losses must be above 0. Received: "
                "pointwise, pairwise, listwise, listmle and novel weight 0."
            )
        wrong = {k: v for k, v in self.loss_weights.items() if v < 0}
        if wrong:
            raise ValueError(
                f"`ranking.loss_weights` must not be negative. Received: {wrong}."
            )
        wrong = {k: v for k, v in self.event_gains.items() if v <= 0}
        if wrong:
            raise ValueError(
                "`ranking.event_gains` must be above 0: with 0 a positive would count "
                f"as a negative. Received: {wrong}. Give weak events a small gain, or "
                "take the head's losses away by `loss_weights`."
            )
        return self


def check_tasks(config: TaskConfig, schema: Schema) -> None:
    """Checks the names of event types against the heads.

    Raises:
        ValueError: If a type has no head, no head has a loss, gains are named that no
            loss reads, the funnel is not in order of strength, or a position bias is
            to be removed from heads that no shown list teaches.
    """
    heads = schema.head_event_types or schema.target_event_types
    named = {
        "funnel": config.funnel,
        "event_gains": tuple(config.event_gains),
        "loss_weights": tuple(config.loss_weights),
    }
    for name, types in named.items():
        stray = [t for t in types if t not in heads]
        if stray:
            raise ValueError(
                f"`ranking.{name}` must name event types that have a head: "
                f"{list(heads)}. Received: {stray}. Add them to "
                "`data.head_event_types`, or take them out."
            )
    if not any(config.loss_weights.get(head, 1.0) for head in heads):
        raise ValueError(
            "One of `ranking.loss_weights` must be above 0, else nothing is learned. "
            f"Received: {config.loss_weights}, heads {list(heads)}. Heads that are not "
            "named have 1."
        )
    order = ("pairwise_weight", "listwise_weight", "listmle_weight", "novel_weight")
    if config.event_gains and not any(getattr(config, name) for name in order):
        raise ValueError(
            "`ranking.event_gains` grades the losses of order: it needs one of "
            f"{', '.join(order)} above 0. Received: event_gains={config.event_gains} "
            "and all of these 0. Turn one on, or leave the gains out."
        )
    places = [schema.event_types.index(t) for t in config.funnel]
    if len(places) == 1 or places != sorted(set(places)):
        raise ValueError(
            "`ranking.funnel` must name at least two types, weakest first as in "
            f"`data.event_types`. Received: {list(config.funnel)}, event_types="
            f"{list(schema.event_types)}."
        )
    if config.position_bias != "none" and not schema.shown_head_types:
        raise ValueError(
            "`ranking.position_bias` needs a head that is no target: shown lists teach "
            f"no other. Received: position_bias={config.position_bias}, heads "
            f"{list(heads)}, target_event_types={list(schema.target_event_types)}. "
            "Name a type in `data.head_event_types` that is no target, such as the "
            "click, or set `position_bias: none`."
        )
