"""Typed requests, checked when they are built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from tfrec_client.checks import (
    check_id,
    check_ids,
    check_k,
    check_text,
    check_timestamp,
    is_number,
)
from tfrec_client.errors import InvalidRequestError
from tfrec_client.rules import ListRules, OrderRules

DEFAULT_K = 10
_MAX_DWELL_SECONDS = 3.4e38  # Of float32, in which they are sent.


@dataclass(frozen=True, slots=True)
class Event:
    """One past event of a shopper.

    Attributes:
        item_id: Key of the item in the catalogue; unknown ones are allowed. Of a
            search, see `Event.search`, what was searched for.
        event_type: For example `view`, `cart`, `purchase`.
        timestamp: Whole unix seconds; 0 where the shop knows only an order.
        dwell_seconds: How long the shopper stayed; 0 if unknown.
    """

    item_id: str
    event_type: str
    timestamp: int
    dwell_seconds: float = 0.0

    def __post_init__(self) -> None:
        check_id("item_id", self.item_id)
        check_id("event_type", self.event_type)
        check_timestamp("timestamp", self.timestamp)
        dwell = self.dwell_seconds
        if not is_number(dwell) or not 0 <= dwell <= _MAX_DWELL_SECONDS:
            raise InvalidRequestError(
                "`dwell_seconds` must be a number of seconds, 0 or more, and fit into "
                "float32. "
                f"Received: dwell_seconds={dwell!r}."
            )

    @classmethod
    def search(
        cls, text: str, timestamp: int, *, event_type: str = "search"
    ) -> "Event":
        """Returns a past search, for models that read searches as events.

        Such a search is sent like any event, its text in the place of an item id. A
        model without `data.search_event_type` takes it for an unknown item.

        Args:
            text: What was searched for; not blank.
            timestamp: Whole unix seconds; 0 where the shop knows only an order.
            event_type: What the shop calls searches, `data.search_event_type` of its
                configuration.
        """
        check_text("text", text)
        if not text.strip():
            raise InvalidRequestError(
                "`text` of a past search must not be blank. "
                f"Received: text={text!r}. Leave the event out."
            )
        return cls(text, event_type, timestamp)


@dataclass(frozen=True, kw_only=True)
class QueryRequest:
    """Who asks, and what for.

    Attributes:
        history: Past events, oldest first; empty for a new shopper.
        query_text: What was typed into the search box; "" for nothing.
        request_timestamp: Unix seconds; None means now.
        context: Declared context by name, for example `{"country": "DE"}`.
    """

    history: Sequence[Event] = field(default=(), kw_only=False)
    query_text: str = ""
    request_timestamp: int | None = None
    context: Mapping[str, str | float | None] | None = None

    def __post_init__(self) -> None:
        _check_history(self.history)
        check_text("query_text", self.query_text)
        if self.request_timestamp is not None:
            check_timestamp("request_timestamp", self.request_timestamp)


@dataclass(frozen=True, kw_only=True)
class ShopperRequest(QueryRequest):
    """Who asks, and in which situation.

    Attributes:
        exclude_item_ids: Items that must not come back.
        exclude_seen: True leaves out every item of `history`.
        filters: Allowed values by item attribute, for example
            `{"brand": ["Acme", "Bolt"]}`; attributes left out are free.
    """

    exclude_item_ids: Sequence[str] = ()
    exclude_seen: bool = False
    filters: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ids("exclude_item_ids", self.exclude_item_ids)
        if not isinstance(self.exclude_seen, bool):
            raise InvalidRequestError(
                "`exclude_seen` must be True or False. "
                f"Received: {self.exclude_seen!r}."
            )


class QuerySituation(TypedDict, total=False):
    """The keyword arguments of `embed_query`: those of `QueryRequest`."""

    query_text: str
    request_timestamp: int | None
    context: Mapping[str, str | float | None] | None


class Situation(QuerySituation, total=False):
    """The keyword arguments that every question about a shopper takes.

    They are the attributes of `ShopperRequest`, apart from the history.
    """

    exclude_item_ids: Sequence[str]
    exclude_seen: bool
    filters: Mapping[str, Sequence[str]] | None


class RankingSituation(Situation, total=False):
    """The keyword arguments of `rank`: also those of `OrderRules`."""

    order: str
    head_weights: Mapping[str, float] | None
    boosts: Mapping[str, float] | None
    bids: Mapping[str, float] | None


class ListSituation(RankingSituation, total=False):
    """The keyword arguments of `recommend`: also those of `ListRules`."""

    caps: Mapping[str, int] | None
    must_include_item_ids: Sequence[str]
    diversity: float


@dataclass(frozen=True, kw_only=True)
class RecommendationRequest(ShopperRequest, OrderRules, ListRules):
    """Asks for the best items of the catalogue.

    Attributes:
        k: How many items, at least 1; more than the catalogue is allowed.
    """

    k: int = DEFAULT_K

    def __post_init__(self) -> None:
        super().__post_init__()
        OrderRules.__post_init__(self)
        ListRules.__post_init__(self)
        check_k(self.k)


@dataclass(frozen=True, kw_only=True)
class RankRequest(ShopperRequest, OrderRules):
    """Asks for the scores of given items.

    Attributes:
        candidate_item_ids: Items to score, at least one.
    """

    candidate_item_ids: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        OrderRules.__post_init__(self)
        check_ids("candidate_item_ids", self.candidate_item_ids)
        if not self.candidate_item_ids:
            raise InvalidRequestError(
                "`candidate_item_ids` must name at least one item. Received: none."
            )


def _check_history(history: object) -> None:
    if isinstance(history, str | bytes) or not isinstance(history, Sequence):
        raise InvalidRequestError(
            "`history` must be a list or tuple of Event, oldest first. "
            f"Received: {type(history).__name__}."
        )
    before = 0
    for position, event in enumerate(history):
        if not isinstance(event, Event):
            raise InvalidRequestError(
                f"`history[{position}]` must be an Event. Received: {event!r}."
            )
        if event.timestamp < before:
            raise InvalidRequestError(
                "`history` must be sorted by time, oldest first. Received: "
                f"history[{position}].timestamp={event.timestamp} after {before}. "
                "Sort it with key=lambda event: event.timestamp."
            )
        before = event.timestamp
