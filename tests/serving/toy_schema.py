"""The schemas of the toy model: a shop that declares much, and a plain one."""

from tfrec.schema import AttributeKind, AttributeSpec, Schema

SHOP_SCHEMA = Schema(
    event_types=("view", "purchase"),
    target_event_types=("view", "purchase"),
    item_attributes=(AttributeSpec("brand", AttributeKind.CATEGORICAL),),
    context=(
        AttributeSpec("country", AttributeKind.CATEGORICAL),
        AttributeSpec("hour", AttributeKind.NUMERIC),
    ),
    filters=("brand",),
    has_text=True,
)
PLAIN_SCHEMA = Schema(("view", "purchase"), ("view", "purchase"))
