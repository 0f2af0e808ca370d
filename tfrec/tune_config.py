"""Frozen, typed configuration of a search for better settings; see `tfrec tune`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tfrec.data_config import FrozenConfig

Scalar = bool | int | float | str | None


class SearchRange(FrozenConfig):
    """What a setting may be: a range of numbers, or a list of choices."""

    low: float | None = Field(None, description="Smallest value.")
    high: float | None = Field(None, description="Greatest value, included.")
    log: bool = Field(
        False, description="Search by factors, not by differences, e.g. of rates."
    )
    step: float | None = Field(None, gt=0, description="Distance of allowed values.")
    choices: tuple[Scalar | tuple[Scalar, ...], ...] | None = Field(
        None, min_length=1, description="Allowed values, instead of a range."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        is_range = self.low is not None and self.high is not None
        has_bound = self.low is not None or self.high is not None
        is_list = self.choices is not None
        if is_list == has_bound or not (is_list or is_range):
            raise ValueError(
                "Expected: `low` and `high`, or `choices` alone. Received: "
                f"low={self.low}, high={self.high}, choices={self.choices}."
            )
        if is_list and (self.log or self.step is not None):
            raise ValueError("`log` and `step` are of ranges; `choices` have neither.")
        if self.low is not None and self.high is not None:
            self._check_range(self.low, self.high)
        return self

    def _check_range(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError(
                f"`low` must be below `high`. Received: low={low}, high={high}."
            )
        if self.log and low <= 0:
            raise ValueError(
                f"`low` must be above 0 with `log: true`. Received: low={low}."
            )
        if self.log and self.step is not None:
            raise ValueError("`log` and `step` cannot both be given. Drop one.")


class TuneConfig(FrozenConfig):
    """A search for better settings on the validation split."""

    space: dict[str, SearchRange] = Field(
        {},
        description="What is searched: dotted name of a setting to `{low, high, log, "
        "step}` or `{choices}`; empty: a usual space.",
    )
    trials: int = Field(
        20, ge=1, description="Trials of the study, over all its workers."
    )
    timeout_minutes: float | None = Field(
        None, gt=0, description="No trial is started later than this."
    )
    metric: str | None = Field(
        None, description="None: `evaluation.selection_metric`; else in its place."
    )
    stages: Literal["retrieval", "ranking", "both"] = Field(
        "retrieval",
        description="`retrieval`: its validation decides; `ranking`: one retrieval "
        "model is shared by all trials; `both`: each trial trains both.",
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="Ends trials early that fall behind others."
    )
    pruner_startup_trials: int = Field(
        5, ge=1, description="Trials before `median` ends any."
    )
    pruner_warmup_epochs: int = Field(
        3, ge=0, description="Epochs of a trial before `median` ends it."
    )
