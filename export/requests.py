"""Sample requests from the schema and the catalogue, for gates and warm-up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tfrec.data.store import TITLE, PreparedDataset
from tfrec.schema import (
    BID_ITEM_IDS,
    BIDS,
    BOOST_FACTORS,
    BOOST_ITEM_IDS,
    CANDIDATE_ITEM_IDS,
    CAP_PREFIX,
    CONTEXT_PREFIX,
    DIVERSITY,
    EXCLUDE_ITEM_IDS,
    EXCLUDE_SEEN,
    FILTER_PREFIX,
    HISTORY_DWELL_SECONDS,
    HISTORY_EVENT_TYPES,
    HISTORY_ITEM_IDS,
    HISTORY_TIMESTAMPS,
    ITEM_IDS,
    MUST_INCLUDE_ITEM_IDS,
    ORDER,
    QUERY_TEXT,
    REQUEST_TIMESTAMP,
    TEXT,
    WEIGHT_PREFIX,
    AttributeKind,
    K,
    Role,
    Schema,
    SignatureName,
)

UNKNOWN_ID = "\x00 no such item"  # No shop writes a NUL into an item id.
# Markup, full-width letters, Chinese, an emoji, an accent; longer than any model reads.
_ODD_TEXT = "<b>ＬＡＭＰ</b> 红色 🛋️ café " * 40
_REQUEST_TIME = 1_700_000_000  # Unix seconds; any time will do.
_SECONDS_BETWEEN_EVENTS = 90

Row = dict[str, Any]


class SampleRequest(NamedTuple):
    """Inputs of one call.

    Attributes:
        signature: What is called.
        inputs: Per input name an array with the batch dimension first; strings
            are object arrays.
    """

    signature: SignatureName
    inputs: dict[str, np.ndarray]


def batch_rows(
    schema: Schema, signature: SignatureName, rows: Sequence[Mapping[str, Any]]
) -> SampleRequest:
    """Joins single requests into one batch, padding lists on the right.

    Args:
        schema: Names, dtypes and padding of the inputs.
        signature: Whose inputs to build.
        rows: Per request, values by input name; what is missing is filled with
            the value that means "nothing said".
    """
    inputs = {}
    for spec in schema.signature_inputs(signature):
        dtype = object if spec.dtype == "string" else np.dtype(spec.dtype)
        if not spec.shape:
            values = [row.get(spec.name, spec.padding) for row in rows]
            inputs[spec.name] = np.array(values, dtype)
            continue
        lists = [list(row.get(spec.name, ())) for row in rows]
        padded = np.full((len(rows), max(map(len, lists))), spec.padding, dtype)
        for row, values in enumerate(lists):
            padded[row, : len(values)] = values
        inputs[spec.name] = padded
    return SampleRequest(signature, inputs)


@dataclass(frozen=True)
class RequestSampler:
    """Draws requests that look like a shop's.

    Attributes:
        schema: The schema of the export, filters included.
        dataset: Gives item ids and context values.
        max_history_length: Events that the models read.
        filter_examples: Some values per filter.
        seed: Same seed, same requests.
        order_names: The formulas that a request may choose.
    """

    schema: Schema
    dataset: PreparedDataset
    max_history_length: int
    filter_examples: Mapping[str, Sequence[str]]
    seed: int = 0
    order_names: Sequence[str] = ()

    def parity_requests(self) -> list[SampleRequest]:
        """Returns the requests of the parity gate.

        They hold an empty history, unknown ids and event types, padding between
        events, exclusions, filters, searches, different `k` in a batch, searches
        in histories where those are events, and a history longer than the models
        read; where requests may have rules, those, with every formula.
        """
        rng = np.random.default_rng(self.seed)
        rows = self._parity_rows(rng)
        # Nothing said, a search, a long history.
        alone = [rows[0]], [rows[4]], [rows[5]]
        return [
            batch_rows(self.schema, signature, batch)
            for signature in self.schema.signatures
            for batch in (*alone, rows)
        ]

    def warmup_requests(self, batch_sizes: Iterable[int]) -> list[SampleRequest]:
        """Returns plain requests with full histories for every signature.

        Where texts are read, each comes a second time with a search, and where
        requests may have rules, with all of them: what was not run yet is slow.
        """
        rng = np.random.default_rng(self.seed)
        requests = []
        for signature in self.schema.signatures:
            specs = self.schema.signature_inputs(signature)
            names = {spec.name for spec in specs}
            searches = self.schema.has_text and QUERY_TEXT in names
            for batch_size in batch_sizes:
                length = self.max_history_length
                rows = [self._row(rng, length) for _ in range(batch_size)]
                requests.append(batch_rows(self.schema, signature, rows))
                if any(spec.role == Role.RULE for spec in specs):
                    wish = self._order_wishes(rng, "") | self._list_wishes(rng, 0.4)
                    ruled = [row | wish for row in rows]
                    requests.append(batch_rows(self.schema, signature, ruled))
                if searches:
                    rows = [row | {QUERY_TEXT: self._title(rng)} for row in rows]
                    if self.schema.search_event_type is not None:
                        for row in rows:
                            self._search(rng, row, places=(-1,))
                    requests.append(batch_rows(self.schema, signature, rows))
        return requests

    def _parity_rows(self, rng: np.random.Generator) -> list[Row]:
        empty: Row = self._row(rng, 0) | {K: 1, TEXT: ""}
        unknown: Row = self._row(rng, 5) | {K: 3, REQUEST_TIMESTAMP: 0}
        unknown[HISTORY_ITEM_IDS][1:3] = [UNKNOWN_ID, ""]
        unknown[HISTORY_EVENT_TYPES][3:] = [UNKNOWN_ID, ""]
        unknown[CANDIDATE_ITEM_IDS][:2] = [UNKNOWN_ID, ""]
        unknown[ITEM_IDS] = UNKNOWN_ID
        excluding: Row = self._row(rng, 3) | {K: 7, EXCLUDE_SEEN: True}
        excluding[EXCLUDE_ITEM_IDS] = [*self._item_ids(rng, 4), UNKNOWN_ID]
        filtering: Row = self._row(rng, 2) | {K: 5}
        filtering |= {QUERY_TEXT: _ODD_TEXT, TEXT: _ODD_TEXT}
        for name, values in self.filter_examples.items():
            filtering[FILTER_PREFIX + name] = list(values[:2])
        long: Row = self._row(rng, self.max_history_length + 7) | {K: 20}
        searching: Row = self._row(rng, 4) | {K: 6, QUERY_TEXT: self._title(rng)}
        if self.schema.search_event_type is not None:
            self._search(rng, searching, places=(1, 3))
            # An id that is searched for is a text, and a blank text is none.
            self._search(rng, long, places=(0, self.max_history_length, -1))
            long[HISTORY_ITEM_IDS][-1] = " "
            long[HISTORY_ITEM_IDS][-3] = long[HISTORY_ITEM_IDS][-2]
            long[HISTORY_EVENT_TYPES][-3] = self.schema.search_event_type
        rows = [empty, unknown, excluding, filtering, searching, long]
        return rows + self._rule_rows(rng)

    def _rule_rows(self, rng: np.random.Generator) -> list[Row]:
        """Returns requests with rules about the order, where there are any."""
        wishes = []
        if self.schema.order_features:
            wishes += [self._order_wishes(rng, n) for n in ("", *self.order_names)]
        if self.schema.list_features:
            wishes += [self._list_wishes(rng, strength) for strength in (0.0, 0.4)]
        return [self._row(rng, 3) | wish | {K: 6} for wish in wishes]

    def _order_wishes(self, rng: np.random.Generator, order: str) -> Row:
        listed = [*self._item_ids(rng, 3), UNKNOWN_ID]
        return {
            ORDER: order,
            **{WEIGHT_PREFIX + name: 0.5 for name in self.schema.head_names[:1]},
            BOOST_ITEM_IDS: listed,
            BOOST_FACTORS: [2.0, 0.0, 1.5, 3.0],
            BID_ITEM_IDS: listed,
            BIDS: [0.4, 2.0, 0.0, 1.0],
        }

    def _list_wishes(self, rng: np.random.Generator, diversity: float) -> Row:
        return {
            DIVERSITY: diversity,
            MUST_INCLUDE_ITEM_IDS: [*self._item_ids(rng, 2), UNKNOWN_ID],
            **{CAP_PREFIX + name: 1 for name in self.schema.caps},
        }

    def _search(
        self, rng: np.random.Generator, row: Row, *, places: Sequence[int]
    ) -> None:
        """Puts searches in the places of some events."""
        for place in places:
            row[HISTORY_ITEM_IDS][place] = self._title(rng) or UNKNOWN_ID
            row[HISTORY_EVENT_TYPES][place] = self.schema.search_event_type

    def _title(self, rng: np.random.Generator) -> str:
        """Returns the title of some item; "" where no item has one."""
        titles = self._titles
        return titles[rng.integers(len(titles))] if titles else ""

    @cached_property
    def _titles(self) -> list[str]:
        return [title for title in self.dataset.items[TITLE].to_pylist() if title]

    def _row(self, rng: np.random.Generator, history_length: int) -> Row:
        times = _REQUEST_TIME - _SECONDS_BETWEEN_EVENTS * np.arange(
            history_length, 0, -1
        )
        types = rng.choice(self.schema.item_event_types, history_length)
        return {
            HISTORY_ITEM_IDS: self._item_ids(rng, history_length),
            HISTORY_EVENT_TYPES: types.tolist(),
            HISTORY_TIMESTAMPS: times,
            HISTORY_DWELL_SECONDS: rng.uniform(1.0, 60.0, history_length),
            REQUEST_TIMESTAMP: _REQUEST_TIME,
            CANDIDATE_ITEM_IDS: self._item_ids(rng, 10),
            ITEM_IDS: self._item_ids(rng, 1)[0],
            TEXT: self._title(rng),
            **self._context(rng),
        }

    def _item_ids(self, rng: np.random.Generator, size: int) -> list[str]:
        tokens = self.dataset.item_vocabulary.tokens
        return [tokens[i] for i in rng.integers(len(tokens), size=size)]

    def _context(self, rng: np.random.Generator) -> Row:
        values: Row = {}
        for attribute in self.schema.context:
            name = CONTEXT_PREFIX + attribute.name
            if attribute.kind == AttributeKind.NUMERIC:
                values[name] = float(rng.uniform(0.0, 10.0))
                continue
            tokens = self.dataset.attribute_vocabularies[attribute.name].tokens
            if tokens:
                values[name] = tokens[rng.integers(len(tokens))]
        return values
