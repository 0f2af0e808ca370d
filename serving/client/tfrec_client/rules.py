"""What a request may say about the order of its answer, checked when it is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfrec_client.checks import (
    check_id,
    check_ids,
    check_text,
    is_number,
    is_whole_number,
)
from tfrec_client.errors import InvalidRequestError

MAX_CAP = 2**31 - 1  # A cap is an int32.


@dataclass(frozen=True, kw_only=True)
class OrderRules:
    """How candidates are scored; a model has what it was exported with.

    Attributes:
        order: Name of a formula of the model, such as `ads`; "" is its default.
        head_weights: Weight by event type, in place of the configured one.
        boosts: Factor by item id, 0 or more; scores are multiplied by it.
        bids: Bid by item id, 0 or more, in place of the catalogue's.
    """

    order: str = ""
    head_weights: Mapping[str, float] | None = None
    boosts: Mapping[str, float] | None = None
    bids: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_text("order", self.order)
        _check_numbers("head_weights", self.head_weights, lowest=float("-inf"))
        _check_numbers("boosts", self.boosts, lowest=0.0)
        _check_numbers("bids", self.bids, lowest=0.0)


@dataclass(frozen=True, kw_only=True)
class ListRules:
    """What a list must look like; a model has what it was exported with.

    Attributes:
        caps: At most so many items of one value, by attribute: `{"brand": 2}`.
        must_include_item_ids: Items that get a place, unless they are excluded or
            filtered out.
        diversity: 0 is off; up to 1, the more the less alike the items are.
    """

    caps: Mapping[str, int] | None = None
    must_include_item_ids: Sequence[str] = ()
    diversity: float = 0.0

    def __post_init__(self) -> None:
        for name, cap in (self.caps or {}).items():
            if not is_whole_number(cap) or not 1 <= cap <= MAX_CAP:
                raise InvalidRequestError(
                    "`caps` must be whole numbers, at least 1. Received: "
                    f"caps[{name!r}]={cap!r}. Leave the attribute out for no cap."
                )
        check_ids("must_include_item_ids", self.must_include_item_ids)
        if not is_number(self.diversity) or not 0.0 <= self.diversity <= 1.0:
            raise InvalidRequestError(
                "`diversity` must be a number from 0 to 1. "
                f"Received: diversity={self.diversity!r}."
            )


def _check_numbers(
    argument: str, values: Mapping[str, float] | None, *, lowest: float
) -> None:
    for name, value in (values or {}).items():
        check_id(f"key of `{argument}`", name)
        if not is_number(value) or not lowest <= value or abs(value) >= 3e38:
            bound = "" if lowest < 0.0 else f", {lowest:g} or more"
            raise InvalidRequestError(
                f"`{argument}` must be finite numbers{bound}. "
                f"Received: {argument}[{name!r}]={value!r}."
            )
