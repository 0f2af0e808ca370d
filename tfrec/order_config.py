"""Configuration of the final order: formulas by name, and what they may name."""

import difflib
from collections.abc import Mapping

from pydantic import Field, field_validator

from tfrec.data_config import FrozenConfig
from tfrec.formula import Formula, formula_name, parse_formula
from tfrec.schema import AttributeKind, RequestRule, Schema

RECOMMEND = "recommend"
SEARCH = "search"
ADS = "ads"
BID = "bid"
PRICE = "price"
BOOST = "boost"
RETRIEVAL = "retrieval"
WEIGHT_PREFIX = "weight_"
# How much of its order a search takes from retrieval, which compares the words.
# A starting point by judgement, not tuned: measure it on the shop's own searches.
_SEARCH_EXPONENT = 0.25


class FinalOrderConfig(FrozenConfig):
    """How probabilities, prices and bids become the order that shoppers see."""

    default: str = Field(
        RECOMMEND,
        description="The formula of a request that names none: `recommend`, `search`, "
        "`ads`, or one of `formulas`.",
    )
    formulas: dict[str, str] = Field(
        {},
        description="By name, such as `margin: purchase * price ** 0.5`; the name of "
        "a preset replaces it.",
    )
    missing_values: dict[str, float] = Field(
        {},
        description="What a number that an item does not have counts as; 0 for "
        "attributes that are not named, 1 for `boost`.",
    )

    @field_validator("formulas")
    @classmethod
    def _readable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name or name != formula_name(name):
                raise ValueError(
                    "The name of a formula must consist of letters, digits and _. "
                    f"Received: {name!r}. Use {formula_name(name)!r}."
                )
            try:
                parse_formula(text)
            except ValueError as error:
                raise ValueError(f"`formulas.{name}`: {error}") from error
        return value


def number_attributes(schema: Schema) -> dict[str, str]:
    """Returns the item attributes that formulas may use: formula name to attribute.

    An attribute that has the name of a head, or of anything else that formulas
    have of their own, is not among them.
    """
    taken = _own_names(schema)
    return {
        name: attribute for name, attribute in _numeric(schema) if name not in taken
    }


def preset_formulas(schema: Schema) -> dict[str, str]:
    """Returns the formulas that every model has.

    `recommend` is the weighted sum of the heads. `search` multiplies it by a root
    of the retrieval probability. `ads` is the expected revenue of an impression:
    the probability of a click (without such a head: of the weakest event) times the
    bid per click or, without bids, the probability of the strongest event times the
    price; without either it is missing. How strong events are says the order of
    `event_types`, not that of the heads.
    """
    heads = schema.head_names
    types = schema.head_event_types or schema.target_event_types
    strength = [schema.event_type_index(event_type) for event_type in types]
    weakest = heads[strength.index(min(strength))]
    strongest = heads[strength.index(max(strength))]
    weighted = " + ".join(f"{WEIGHT_PREFIX}{head} * {head}" for head in heads)
    presets = {
        RECOMMEND: weighted,
        SEARCH: f"({weighted}) * {RETRIEVAL} ** {_SEARCH_EXPONENT}",
    }
    numbers = number_attributes(schema)
    if BID in numbers or RequestRule.BIDS in schema.rules:
        click = "click" if "click" in heads else weakest
        presets[ADS] = f"{click} * {BID}"
    elif PRICE in numbers:
        presets[ADS] = f"{strongest} * {PRICE}"
    return presets


def resolve_formulas(order: FinalOrderConfig, schema: Schema) -> dict[str, Formula]:
    """Reads all formulas of an experiment, presets included.

    Raises:
        ValueError: If the default is not among them, or a formula or
            `missing_values` names something that the experiment does not have.
    """
    texts = {**preset_formulas(schema), **order.formulas}
    if order.default not in texts:
        missing = (
            " `ads` needs a numeric item attribute `bid` or `price`, or "
            "`export.rules: [bids]`."
            if order.default == ADS
            else ""
        )
        raise ValueError(
            "`ranking.final_order.default` must name a preset or one of `formulas`: "
            f"{sorted(texts)}. Received: {order.default!r}.{missing}"
        )
    formulas = {name: parse_formula(text) for name, text in texts.items()}
    for name in order.formulas:
        _check_names(name, formulas[name], schema)
    numbers = {*number_attributes(schema), BOOST, BID}
    unknown = sorted(set(order.missing_values) - numbers)
    if unknown:
        raise ValueError(
            "`ranking.final_order.missing_values` must name numeric item attributes: "
            f"{sorted(numbers)}. Received: {unknown}."
        )
    return formulas


def head_weights(weights: Mapping[str, float], schema: Schema) -> dict[str, float]:
    """Returns the weight of each head by formula name.

    Args:
        weights: `ranking.head_weights`; a head not named has 1 if its type is a
            target, else 0.
        schema: Heads and targets.
    """
    types = schema.head_event_types or schema.target_event_types
    return {
        formula_name(t): weights.get(t, float(t in schema.target_event_types))
        for t in types
    }


def _own_names(schema: Schema) -> list[str]:
    """Returns the names that formulas have without any attribute, but for numbers."""
    heads = schema.head_names
    return [*heads, *(WEIGHT_PREFIX + head for head in heads), RETRIEVAL]


def _numeric(schema: Schema) -> list[tuple[str, str]]:
    return [
        (formula_name(a.name), a.name)
        for a in schema.item_attributes
        if a.kind == AttributeKind.NUMERIC
    ]


def _check_names(formula_label: str, formula: Formula, schema: Schema) -> None:
    own = _own_names(schema)
    attributes = [name for name, _ in _numeric(schema)]
    bids = [BID] if RequestRule.BIDS in schema.rules else []
    known = sorted({*own, *attributes, BOOST, *bids})
    for name in sorted(formula.names):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"`formulas.{formula_label}` must only use names that the experiment "
                f"has: {known}. Received: {name!r} in {formula.text!r}.{hint} "
                "Numbers of items are declared under `data.item_attributes` with "
                "`kind: numeric`."
            )
        if name in own and name in attributes:
            raise ValueError(
                f"`formulas.{formula_label}` must be unambiguous. Received: {name!r} "
                f"in {formula.text!r}, which is a number of items, too. Give the "
                "attribute another `name`, and its `column` the old one."
            )
