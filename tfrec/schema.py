"""The one place that says which features exist; everything else derives from it."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tfrec.formula import formula_name

PADDING_INDEX = 0
OOV_INDEX = 1
NUM_SPECIAL_INDICES = 2  # Vocabulary entry i has the index i + 2.


class Role(StrEnum):
    """What a feature of a request is for."""

    HISTORY = "history"
    REQUEST = "request"
    CONTEXT = "context"
    FILTER = "filter"
    CANDIDATE = "candidate"
    RULE = "rule"


class AttributeKind(StrEnum):
    """How an attribute of an item, or of the context, is encoded.

    `categorical`: one value, looked up. `path`: levels joined by a separator,
    each prefix looked up (`home`, `home/lamps`). `tags`: several values joined
    by a separator, each looked up. `numeric`: a number, scaled.
    """

    CATEGORICAL = "categorical"
    PATH = "path"
    TAGS = "tags"
    NUMERIC = "numeric"


class SignatureName(StrEnum):
    """Entry points of an exported model."""

    RECOMMEND = "recommend"
    RETRIEVE = "retrieve"
    RANK = "rank"
    SIMILAR_ITEMS = "similar_items"
    EMBED_QUERY = "embed_query"
    EMBED_TEXT = "embed_text"


class RequestRule(StrEnum):
    """What a request may say about the order, if the model was exported with it.

    `order`: which formula. `weights`: of the heads. `boost`, `bids`: numbers of
    single items. `must_include`: items with a place. `diversity`: its strength.
    """

    ORDER = "order"
    WEIGHTS = "weights"
    BOOST = "boost"
    BIDS = "bids"
    MUST_INCLUDE = "must_include"
    DIVERSITY = "diversity"


# Names of the exported contract. `serving/client` repeats them in its own
# distribution; `tests/serving` holds both against each other.
HISTORY_ITEM_IDS = "history_item_ids"
HISTORY_EVENT_TYPES = "history_event_types"
HISTORY_TIMESTAMPS = "history_timestamps"
HISTORY_DWELL_SECONDS = "history_dwell_seconds"
QUERY_TEXT = "query_text"
REQUEST_TIMESTAMP = "request_timestamp"
K = "k"
EXCLUDE_ITEM_IDS = "exclude_item_ids"
EXCLUDE_SEEN = "exclude_seen"
CANDIDATE_ITEM_IDS = "candidate_item_ids"
ITEM_IDS = "item_ids"
SCORES = "scores"
RETRIEVAL_SCORES = "retrieval_scores"
TEXT = "text"
EMBEDDING = "embedding"
PROBABILITY_SUFFIX = "_probability"
DWELL_SECONDS = "dwell_seconds"  # Predicted.
CONTEXT_PREFIX = "context_"
FILTER_PREFIX = "filter_"
ORDER = "order"
WEIGHT_PREFIX = "weight_"
BOOST_ITEM_IDS = "boost_item_ids"
BOOST_FACTORS = "boost_factors"
BID_ITEM_IDS = "bid_item_ids"
BIDS = "bids"
CAP_PREFIX = "cap_"
MUST_INCLUDE_ITEM_IDS = "must_include_item_ids"
DIVERSITY = "diversity"


@dataclass(frozen=True)
class FeatureSpec:
    """One input or output of a signature.

    Attributes:
        name: The key in the signature.
        dtype: `string`, `int64`, `int32`, `float32` or `bool`.
        shape: Dimension names of unknown size after the batch dimension, for
            example `("history_length",)`; `()` for one value a request.
        role: What the feature is for; `None` for outputs.
        vocabulary: Name of the vocabulary that looks the value up, if any.
        padding: The value that means "nothing here" or "nothing said".
    """

    name: str
    dtype: str
    shape: tuple[str, ...] = ()
    role: Role | None = None
    vocabulary: str | None = None
    padding: str | int | float | bool = ""


@dataclass(frozen=True)
class AttributeSpec:
    """One declared attribute of items or of the context.

    Attributes:
        name: Name of the attribute, also of its vocabulary.
        kind: How it is encoded.
        separator: Joins the levels of a `path`, or tags.
        max_levels: Levels of a `path`, or tags, that are read.
        learned: False keeps the attribute from the models: it is for formulas,
            filters and caps only.
    """

    name: str
    kind: AttributeKind
    separator: str = "/"
    max_levels: int = 4
    learned: bool = True

    def tokens(self, value: str | None) -> list[str]:
        """Returns the vocabulary tokens of one raw value; none if it is missing."""
        if not value:
            return []
        if self.kind == AttributeKind.CATEGORICAL:
            return [value]
        levels = [part.strip() for part in value.split(self.separator)]
        levels = [level for level in levels if level][: self.max_levels]
        if self.kind == AttributeKind.TAGS:
            return levels
        return [
            self.separator.join(levels[: depth + 1]) for depth in range(len(levels))
        ]


@dataclass(frozen=True)
class Schema:
    """Which columns of a shop are what.

    Attributes:
        event_types: All behaviour event types, weakest first, then that of searches,
            if there is one. The event type index is the position here plus
            `NUM_SPECIAL_INDICES`.
        target_event_types: The types that retrieval predicts, in any order.
        head_event_types: The types that get a ranking head, in the order of the
            model's outputs; how strong they are says `event_types`. Empty:
            `target_event_types`.
        item_attributes: Declared attributes of items, in model order. `title`
            is not among them: it is text.
        context: Attributes known with a request, such as the country.
        filters: Names of item attributes that a request may filter by.
        has_timestamps: False where the log knows only an order.
        has_text: Whether a language model reads titles and searches. That of an
            export is also False where searches cannot be read in the graph.
        has_ranking: False for retrieval alone: there are no heads.
        caps: Names of item attributes of which a request may ask for at most so
            many items of one value.
        rules: What else a request may say about the order, see `RequestRule`.
        has_dwell: Whether ranking also predicts the dwell on an item.
        search_event_type: The one of `event_types` that is a search: such an event
            has a text in the place of an item. None where histories have none.
        has_interests: Whether an embedded query is several vectors.
    """

    event_types: tuple[str, ...]
    target_event_types: tuple[str, ...]
    head_event_types: tuple[str, ...] = ()
    item_attributes: tuple[AttributeSpec, ...] = ()
    context: tuple[AttributeSpec, ...] = ()
    filters: tuple[str, ...] = ()
    has_timestamps: bool = True
    has_text: bool = False
    has_ranking: bool = True
    caps: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    has_dwell: bool = False
    search_event_type: str | None = None
    has_interests: bool = False

    def __post_init__(self) -> None:
        unknown = [t for t in self.target_event_types if t not in self.event_types]
        if unknown or not self.target_event_types:
            raise ValueError(
                "`target_event_types` must name at least one of `event_types`. "
                f"Received: target_event_types={list(self.target_event_types)}, "
                f"event_types={list(self.event_types)}."
            )
        stray = [t for t in self.head_event_types if t not in self.event_types]
        if stray:
            raise ValueError(
                "`head_event_types` must be among `event_types`. "
                f"Received: {stray}, event_types={list(self.event_types)}."
            )
        self._check_search_event_type()
        names = [a.name for a in self.item_attributes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                "`item_attributes` must have a name each. Received twice: "
                f"{', '.join(twice)}. Rename one; `column` says where its values are."
            )
        lost = [name for name in self.filters if name not in names]
        if lost:
            raise ValueError(
                "`filters` must name declared item attributes. "
                f"Received: filters={lost}, item attributes={names}."
            )
        self._check_rules()

    def _check_rules(self) -> None:
        counted = [
            a.name
            for a in self.item_attributes
            if a.kind in (AttributeKind.CATEGORICAL, AttributeKind.PATH)
        ]
        lost = [name for name in self.caps if name not in counted]
        if lost:
            raise ValueError(
                "`caps` must name categorical or path item attributes, which have "
                f"one value an item. Received: {lost}, such attributes: {counted}."
            )
        twice = sorted({name for name in self.caps if self.caps.count(name) > 1})
        if twice:
            raise ValueError(
                "`caps` must name each attribute once. "
                f"Received twice: {twice} in {list(self.caps)}. Take one out."
            )
        of_lists = (RequestRule.MUST_INCLUDE, RequestRule.DIVERSITY)
        needing = [rule for rule in self.rules if rule not in of_lists]
        if needing and not self.has_ranking:
            raise ValueError(
                "`rules` about formulas need a ranking model. Received: "
                f"{needing} with `ranking: null`. Leave them out."
            )

    def _check_search_event_type(self) -> None:
        name = self.search_event_type
        predicted = (*self.target_event_types, *self.head_event_types)
        if name is not None and (name not in self.event_types or name in predicted):
            raise ValueError(
                "`search_event_type` must be one of `event_types`, and neither target "
                "nor head: a search has no item. Received: search_event_type="
                f"{name!r}, event_types={list(self.event_types)}, targets and heads "
                f"{list(predicted)}."
            )

    @property
    def item_event_types(self) -> tuple[str, ...]:
        """The event types whose events have an item."""
        return tuple(t for t in self.event_types if t != self.search_event_type)

    @property
    def search_event_type_index(self) -> int | None:
        """Index of the events that are searches; None where there are none."""
        if self.search_event_type is None:
            return None
        return self.event_type_index(self.search_event_type)

    @property
    def history_features(self) -> tuple[FeatureSpec, ...]:
        """Inputs that describe the past events, oldest first."""
        shape = ("history_length",)
        return (
            FeatureSpec(HISTORY_ITEM_IDS, "string", shape, Role.HISTORY, "item_id"),
            FeatureSpec(
                HISTORY_EVENT_TYPES, "string", shape, Role.HISTORY, "event_type"
            ),
            FeatureSpec(HISTORY_TIMESTAMPS, "int64", shape, Role.HISTORY, padding=0),
            FeatureSpec(
                HISTORY_DWELL_SECONDS, "float32", shape, Role.HISTORY, padding=0.0
            ),
        )

    @property
    def request_features(self) -> tuple[FeatureSpec, ...]:
        """Inputs that say what is asked, one value or one list a request."""
        excluded = ("num_excluded",)
        allowed = ("num_filter_values",)
        return (
            FeatureSpec(QUERY_TEXT, "string", (), Role.REQUEST),
            FeatureSpec(REQUEST_TIMESTAMP, "int64", (), Role.REQUEST, padding=0),
            FeatureSpec(EXCLUDE_ITEM_IDS, "string", excluded, Role.REQUEST, "item_id"),
            FeatureSpec(EXCLUDE_SEEN, "bool", (), Role.REQUEST, padding=False),
            *(
                FeatureSpec(
                    CONTEXT_PREFIX + a.name,
                    "float32" if a.kind == AttributeKind.NUMERIC else "string",
                    (),
                    Role.CONTEXT,
                    None if a.kind == AttributeKind.NUMERIC else a.name,
                    float("nan") if a.kind == AttributeKind.NUMERIC else "",
                )
                for a in self.context
            ),
            *(
                FeatureSpec(FILTER_PREFIX + name, "string", allowed, Role.FILTER, name)
                for name in self.filters
            ),
        )

    @property
    def signatures(self) -> tuple[SignatureName, ...]:
        """Entry points that an exported model has; texts need a language model."""
        return tuple(
            name
            for name in SignatureName
            if self.has_text or name != SignatureName.EMBED_TEXT
        )

    @property
    def query_features(self) -> tuple[FeatureSpec, ...]:
        """Inputs that say who asks, but not which items may be answered."""
        answered = (EXCLUDE_ITEM_IDS, EXCLUDE_SEEN)
        asked = [
            feature
            for feature in self.request_features
            if feature.role != Role.FILTER and feature.name not in answered
        ]
        return (*self.history_features, *asked)

    @property
    def head_names(self) -> tuple[str, ...]:
        """What formulas and weights call the heads, in their order."""
        return tuple(
            formula_name(name.removesuffix(PROBABILITY_SUFFIX)) for name in self.heads
        )

    @property
    def shown_head_types(self) -> tuple[str, ...]:
        """Event types of the heads that shown lists teach: those that are no target.

        Targets happen without impressions, so what was shown says nothing of them.
        """
        heads = self.head_event_types or self.target_event_types
        return tuple(head for head in heads if head not in self.target_event_types)

    @property
    def order_features(self) -> tuple[FeatureSpec, ...]:
        """Inputs that say how candidates are scored; none without `rules`."""
        role, boosted, bidden = Role.RULE, ("num_boosted",), ("num_bids",)
        by_rule = {
            RequestRule.ORDER: (FeatureSpec(ORDER, "string", (), role),),
            RequestRule.WEIGHTS: tuple(
                FeatureSpec(WEIGHT_PREFIX + n, "float32", (), role, padding=math.nan)
                for n in self.head_names
            ),
            RequestRule.BOOST: (
                FeatureSpec(BOOST_ITEM_IDS, "string", boosted, role, "item_id"),
                FeatureSpec(BOOST_FACTORS, "float32", boosted, role, padding=1.0),
            ),
            RequestRule.BIDS: (
                FeatureSpec(BID_ITEM_IDS, "string", bidden, role, "item_id"),
                FeatureSpec(BIDS, "float32", bidden, role, padding=0.0),
            ),
        }
        return tuple(
            feature
            for rule, features in by_rule.items()
            if rule in self.rules
            for feature in features
        )

    @property
    def list_features(self) -> tuple[FeatureSpec, ...]:
        """Inputs that say what a list must look like; none without caps or rules."""
        must = FeatureSpec(
            MUST_INCLUDE_ITEM_IDS, "string", ("num_must",), Role.RULE, "item_id"
        )
        diversity = FeatureSpec(DIVERSITY, "float32", (), Role.RULE, padding=0.0)
        return (
            *(
                FeatureSpec(CAP_PREFIX + name, "int32", (), Role.RULE, name, 0)
                for name in self.caps
            ),
            *((must,) if RequestRule.MUST_INCLUDE in self.rules else ()),
            *((diversity,) if RequestRule.DIVERSITY in self.rules else ()),
        )

    def signature_inputs(self, signature: SignatureName) -> tuple[FeatureSpec, ...]:
        """Returns the inputs of a signature, in order; all have a batch dimension."""
        if signature == SignatureName.EMBED_TEXT:
            return (FeatureSpec(TEXT, "string", (), Role.REQUEST),)
        if signature == SignatureName.EMBED_QUERY:
            return self.query_features
        k = FeatureSpec(K, "int32", (), Role.REQUEST, padding=10)
        if signature == SignatureName.SIMILAR_ITEMS:
            item = FeatureSpec(ITEM_IDS, "string", (), Role.CANDIDATE, "item_id")
            return (item, k)
        shared = (*self.history_features, *self.request_features)
        if signature != SignatureName.RETRIEVE:
            shared += self.order_features
        if signature == SignatureName.RECOMMEND:
            shared += self.list_features
        if signature == SignatureName.RANK:
            candidates = FeatureSpec(
                CANDIDATE_ITEM_IDS,
                "string",
                ("num_candidates",),
                Role.CANDIDATE,
                "item_id",
            )
            return (*shared, candidates)
        return (*shared, k)

    def signature_outputs(self, signature: SignatureName) -> tuple[FeatureSpec, ...]:
        """Returns the outputs of a signature; missing places are "" and -inf."""
        if signature in (SignatureName.EMBED_QUERY, SignatureName.EMBED_TEXT):
            several = self.has_interests and signature == SignatureName.EMBED_QUERY
            shape = (*(("num_interests",) if several else ()), "embedding_dim")
            return (FeatureSpec(EMBEDDING, "float32", shape, padding=0.0),)
        rank = signature == SignatureName.RANK
        shape = ("num_candidates",) if rank else ("max_k",)
        item_ids = FeatureSpec(ITEM_IDS, "string", shape)
        scores = FeatureSpec(SCORES, "float32", shape, padding=float("-inf"))
        predicted = (*self.heads, *((DWELL_SECONDS,) if self.has_dwell else ()))
        heads = tuple(
            FeatureSpec(name, "float32", shape, padding=0.0) for name in predicted
        )
        if rank:
            return (scores, *heads)
        if signature == SignatureName.RECOMMEND:
            retrieval = FeatureSpec(
                RETRIEVAL_SCORES, "float32", shape, padding=float("-inf")
            )
            return (item_ids, scores, retrieval, *heads)
        return (item_ids, scores)

    @property
    def heads(self) -> tuple[str, ...]:
        """Output names of the ranking heads, one per head event type."""
        if not self.has_ranking:
            return ()
        types = self.head_event_types or self.target_event_types
        return tuple(t + PROBABILITY_SUFFIX for t in types)

    def event_type_index(self, event_type: str) -> int:
        """Returns the index of an event type; unknown types are out of vocabulary."""
        if event_type in self.event_types:
            return self.event_types.index(event_type) + NUM_SPECIAL_INDICES
        return OOV_INDEX

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that `from_json` reads back.

        What came later and is not used is left out, so that the hash of a schema
        stays what it was.
        """
        data = asdict(self)
        optional = ("caps", "rules", "has_dwell", "search_event_type", "has_interests")
        for name in optional:
            if not data[name]:
                del data[name]
        for attribute in (*data["item_attributes"], *data["context"]):
            if attribute["learned"]:
                del attribute["learned"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schema":
        """Builds a schema from what `to_json` returned."""

        def attributes(rows: Any) -> tuple[AttributeSpec, ...]:
            return tuple(
                AttributeSpec(
                    r["name"],
                    AttributeKind(r["kind"]),
                    r["separator"],
                    int(r["max_levels"]),
                    bool(r.get("learned", True)),
                )
                for r in rows
            )

        return cls(
            event_types=tuple(data["event_types"]),
            target_event_types=tuple(data["target_event_types"]),
            head_event_types=tuple(data["head_event_types"]),
            item_attributes=attributes(data["item_attributes"]),
            context=attributes(data["context"]),
            filters=tuple(data["filters"]),
            has_timestamps=bool(data["has_timestamps"]),
            has_text=bool(data.get("has_text", False)),
            has_ranking=bool(data.get("has_ranking", True)),
            caps=tuple(data.get("caps", ())),
            rules=tuple(data.get("rules", ())),
            has_dwell=bool(data.get("has_dwell", False)),
            search_event_type=data.get("search_event_type"),
            has_interests=bool(data.get("has_interests", False)),
        )

    @property
    def schema_hash(self) -> str:
        """Hex digest that changes with any part of the schema."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
