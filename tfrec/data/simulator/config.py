"""Settings of a simulated shop, and the four sizes it comes in."""

import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SECONDS_PER_DAY = 86_400
MAX_CATEGORIES = 504  # 72 nouns, each plain or with one of six qualifiers.


class SimulatorConfig(BaseModel):
    """A shop with known truth; docs/simulator.md has the formulas."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str = Field(
        "demo",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
        description="Name of the experiment.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Same seed, same shop.")
    language: Literal["en", "zh"] = Field("en", description="Of titles and queries.")

    num_users: int = Field(4_000, ge=1, description="Shoppers.")
    num_items: int = Field(1_500, ge=4, description="Items of the catalogue.")
    num_categories: int = Field(
        48,
        ge=2,
        le=MAX_CATEGORIES,
        description="Leaf categories; 2 items each or more.",
    )
    num_brands: int = Field(60, ge=1, description="Brands.")
    start_date: datetime.date = Field(
        datetime.date(2025, 1, 6), description="First day, UTC."
    )
    num_days: int = Field(90, ge=2, le=10_000, description="Days of the log.")
    launch_share: float = Field(
        0.25, ge=0, lt=1, description="Share of items launched after the first day."
    )
    popularity_exponent: float = Field(
        0.6, ge=0, description="Popularity of an item = its rank ^ -exponent."
    )

    mean_sessions: float = Field(
        10.0, gt=0, description="Sessions of a shopper over the whole period, mean."
    )
    activity_sigma: float = Field(
        0.6, ge=0, le=1.5, description="Spread of activity over shoppers, log scale."
    )
    new_user_share: float = Field(
        0.4, ge=0, le=1, description="Share of shoppers who join within the period."
    )
    mean_session_views: float = Field(
        5.0, ge=1, description="Organic views of a session, mean."
    )

    num_favourites: int = Field(
        4, ge=1, le=16, description="Favourite categories of a shopper."
    )
    exploration_probability: float = Field(
        0.1, ge=0, le=1, description="New intent outside the favourites."
    )
    drift_probability: float = Field(
        0.04, ge=0, le=1, description="A favourite is replaced, per session."
    )
    num_profiles: int = Field(
        6,
        ge=1,
        le=64,
        description="Kinds of intent per category: price band, "
        "brand, colour and hidden style.",
    )
    price_sigma: float = Field(
        0.25, gt=0, description="Width of an intent's price band, log scale."
    )
    brand_strength: float = Field(
        1.0, ge=0, description="Log weight of the intent's brand."
    )
    colour_strength: float = Field(
        1.0, ge=0, description="Log weight of the intent's colour."
    )
    style_strength: float = Field(
        2.0, ge=0, description="Log weight of a full match with the hidden style."
    )

    min_intent_views: int = Field(3, ge=1, description="An intent lasts at least.")
    max_intent_views: int = Field(10, ge=1, description="An intent lasts at most.")
    intent_end_probability: float = Field(
        0.12, ge=0, le=1, description="An intent ends in between, per view."
    )
    session_continue_probability: float = Field(
        0.75, ge=0, le=1, description="An intent outlives the end of a session."
    )
    related_probability: float = Field(
        0.35, ge=0, le=1, description="Follows a link to a similar item."
    )
    repeat_probability: float = Field(
        0.08, ge=0, le=1, description="Returns to an item met before."
    )
    complement_probability: float = Field(
        0.6, ge=0, le=1, description="After a cart the next intent complements it."
    )
    restock_probability: float = Field(
        0.7, ge=0, le=1, description="A consumable that is due is looked up again."
    )
    search_probability: float = Field(
        0.45, ge=0, le=1, description="A new intent starts with a search."
    )

    log_searches: bool = Field(
        False, description="A search is a row of its own, too: type `search`, no item."
    )

    impression_rate: float = Field(
        0.14, ge=0, le=1, description="A list is shown after an organic view."
    )
    list_length: int = Field(10, ge=1, le=20, description="Items of a list.")
    list_order: Literal["random", "popularity"] = Field(
        "random",
        description="Places of a list: as drawn, or the most popular first, which "
        "makes clicks say less about interest.",
    )
    position_bias: float = Field(
        0.8, ge=0, description="eta: place p is examined with 1 / p ^ eta."
    )
    cart_rate: float = Field(
        0.12, ge=0, le=1, description="Cart after a view of a perfect match."
    )
    purchase_rate: float = Field(0.5, ge=0, le=1, description="Purchase after a cart.")

    validation_days: int = Field(7, ge=1, description="Written to config.yaml.")
    test_days: int = Field(7, ge=1, description="Written to config.yaml.")
    truth_share: float = Field(
        1.0, gt=0, le=1, description="The oracle knows this last share of the time."
    )
    chunk_users: int = Field(
        8_192, ge=1, description="Shoppers simulated at once: memory, not content."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_items < 2 * self.num_categories:
            raise ValueError(
                "`num_items` must be at least 2 * `num_categories`. Received: "
                f"num_items={self.num_items}, num_categories={self.num_categories}."
            )
        if self.max_intent_views < self.min_intent_views:
            raise ValueError(
                "`max_intent_views` must not be below `min_intent_views`. Received: "
                f"max_intent_views={self.max_intent_views}, "
                f"min_intent_views={self.min_intent_views}."
            )
        if self.validation_days + self.test_days >= self.num_days:
            raise ValueError(
                "`validation_days` + `test_days` must leave days to train on. "
                f"Received: validation_days={self.validation_days}, "
                f"test_days={self.test_days}, num_days={self.num_days}."
            )
        return self

    @property
    def start_seconds(self) -> int:
        """First instant of the period, unix seconds."""
        midnight = datetime.datetime.combine(
            self.start_date, datetime.time(), datetime.UTC
        )
        return int(midnight.timestamp())

    @property
    def end_seconds(self) -> int:
        """First instant after the period, unix seconds."""
        return self.start_seconds + self.num_days * SECONDS_PER_DAY

    @property
    def truth_start_seconds(self) -> int:
        """Organic views from here on are known to the oracle, unix seconds."""
        seconds = self.num_days * SECONDS_PER_DAY * self.truth_share
        return int(self.end_seconds - seconds)


SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "name": "tiny",
        "num_users": 150,
        "num_items": 120,
        "num_categories": 8,
        "num_brands": 10,
        "num_days": 30,
        "mean_sessions": 5.0,
        "validation_days": 4,
        "test_days": 4,
    },
    "demo": {"name": "demo"},
    "medium": {
        "name": "medium",
        "num_users": 21_000,
        "num_items": 5_000,
        "num_categories": 120,
        "num_brands": 180,
    },
    "large": {
        "name": "large",
        "num_users": 210_000,
        "num_items": 20_000,
        "num_categories": 400,
        "num_brands": 600,
        "truth_share": 0.1,
    },
}


def sized_config(size: str, **overrides: Any) -> SimulatorConfig:
    """Returns the settings of a named size, with some replaced.

    Args:
        size: `tiny`, `demo`, `medium` or `large`.
        **overrides: Fields of `SimulatorConfig`.

    Raises:
        ValueError: If there is no such size.
    """
    if size not in SIZES:
        raise ValueError(
            f"`size` must be one of {list(SIZES)}. Received: size={size!r}."
        )
    return SimulatorConfig(**{**SIZES[size], **overrides})
