from typing import Any

import pytest
from pydantic import ValidationError

from tfrec.config import ExperimentConfig
from tfrec.order_config import FinalOrderConfig, head_weights, resolve_formulas
from tfrec.schema import AttributeKind, AttributeSpec, Schema

PRICE = AttributeSpec("price", AttributeKind.NUMERIC)
BID = AttributeSpec("bid", AttributeKind.NUMERIC, learned=False)


def make_schema(*attributes: AttributeSpec, **more: Any) -> Schema:
    return Schema(
        event_types=("view", "add-to-cart", "purchase"),
        target_event_types=("purchase",),
        head_event_types=("view", "add-to-cart", "purchase"),
        item_attributes=attributes,
        **more,
    )


def texts(schema: Schema, **settings: Any) -> dict[str, str]:
    order = FinalOrderConfig(**settings)
    return {n: f.text for n, f in resolve_formulas(order, schema).items()}


def make_config(**ranking: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "name": "toy",
            "data": {
                "events": {"paths": ["events.parquet"]},
                "event_columns": {"event_type": "type", "timestamp": "time"},
                "event_types": ["view", "purchase"],
                "item_attributes": [{"name": "price", "kind": "numeric"}],
            },
            "ranking": ranking,
        }
    )


def test_presets_are_formulas_over_the_heads():
    weighted = (
        "weight_view * view + weight_add_to_cart * add_to_cart + "
        "weight_purchase * purchase"
    )
    assert texts(make_schema()) == {
        "recommend": weighted,
        "search": f"({weighted}) * retrieval ** 0.25",
    }


def test_ads_are_bids_for_clicks_or_else_prices_of_purchases():
    assert texts(make_schema(PRICE))["ads"] == "purchase * price"
    assert texts(make_schema(PRICE, BID))["ads"] == "view * bid"
    assert texts(make_schema(rules=("bids",)))["ads"] == "view * bid"
    clicks = Schema(("view", "click"), ("view", "click"), item_attributes=(BID,))
    assert texts(clicks)["ads"] == "click * bid"


def test_ads_go_by_strength_whatever_the_order_of_the_heads():
    """Types are listed weakest first, heads as one likes."""
    types, heads = ("view", "cart", "purchase"), ("purchase", "view", "cart")

    def ads(*attributes: AttributeSpec, targets: tuple[str, ...], **more: Any) -> str:
        schema = Schema(types, targets, item_attributes=attributes, **more)
        return texts(schema)["ads"]

    named = {"targets": ("view",), "head_event_types": heads}
    assert ads(PRICE, **named) == "purchase * price"
    assert ads(BID, **named) == "view * bid"
    # Without heads of their own the targets are the heads.
    assert ads(PRICE, targets=("purchase", "cart")) == "purchase * price"
    assert ads(BID, targets=("purchase", "cart")) == "cart * bid"


def test_a_formula_may_replace_a_preset_and_be_the_default():
    found = texts(
        make_schema(PRICE),
        default="margin",
        formulas={"margin": "purchase * price", "search": "view * retrieval"},
    )
    assert found["search"] == "view * retrieval"
    assert found["margin"] == "purchase * price"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"default": "add"}, "must name a preset or one of `formulas`.*'add'"),
        ({"default": "ads"}, "`ads` needs a numeric item attribute `bid` or `price`"),
        ({"formulas": {"a": "purchas * 2"}}, "Did you mean 'purchase'"),
        ({"formulas": {"a": "purchase * brand"}}, "`kind: numeric`"),
        ({"missing_values": {"size": 1.0}}, r"numeric item attributes.*\['size'\]"),
    ],
)
def test_unknown_names_are_named(settings: dict[str, Any], message: str):
    brand = AttributeSpec("brand", AttributeKind.CATEGORICAL)
    with pytest.raises(ValueError, match=message):
        resolve_formulas(FinalOrderConfig(**settings), make_schema(brand))


def test_a_name_of_two_things_is_refused_only_where_it_is_used():
    schema = make_schema(AttributeSpec("view", AttributeKind.NUMERIC))
    assert "recommend" in texts(schema)  # Presets mean the head.
    with pytest.raises(ValueError, match="must be unambiguous.*'view'"):
        resolve_formulas(FinalOrderConfig(formulas={"a": "view * 2"}), schema)


@pytest.mark.parametrize(
    ("final_order", "message"),
    [
        ({"formulas": {"a": "view / 0"}}, "formulas.a.*divide by zero"),
        ({"formulas": {"a-b": "view"}}, "Use 'a_b'"),
        ({"formulas": {"a": "clicks"}}, "only use names that the experiment has"),
        ({"default": "nothing"}, "final_order.default"),
        (
            {"missing_values": {"price": float("nan")}},
            "(?s)values.price.*finite number.*nan",
        ),
    ],
)
def test_the_configuration_is_refused_when_it_is_read(
    final_order: dict[str, Any], message: str
):
    with pytest.raises(ValidationError, match=message):
        make_config(final_order=final_order)


def test_a_good_configuration_is_read():
    settings = {"default": "ads", "missing_values": {"price": 5.0}}
    config = make_config(final_order=settings)
    assert config.ranking is not None
    assert config.ranking.final_order.default == "ads"


def test_heads_that_are_no_targets_weigh_nothing_unless_said():
    expected = {"view": 0.0, "add_to_cart": 0.25, "purchase": 1.0}
    assert head_weights({"add-to-cart": 0.25}, make_schema()) == expected
