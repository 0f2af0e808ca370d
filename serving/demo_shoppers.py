"""Picks shoppers of the test window, with what they had done until then."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tfrec_client import Event, RecommendationRequest

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind

_UNKNOWN_ITEM = "an item outside the catalogue"


class Shopper(NamedTuple):
    """A shopper at the moment of a request.

    Attributes:
        user_id: Who.
        history: Past events, oldest first.
        context: Declared context of the request.
        request_timestamp: Unix seconds.
        next_item_id: The item chosen next; None if it is outside the catalogue.
        query_text: What was searched for before that; "" for nothing.
    """

    user_id: str
    history: list[Event]
    context: dict[str, str | float | None]
    request_timestamp: int
    next_item_id: str | None
    query_text: str = ""

    def request(self, *, k: int) -> RecommendationRequest:
        """Returns the request for `k` items at this moment."""
        return RecommendationRequest(
            self.history,
            k=k,
            query_text=self.query_text,
            request_timestamp=self.request_timestamp or None,
            context=self.context,
        )


def pick_shoppers(
    dataset: PreparedDataset,
    config: ExperimentConfig,
    *,
    num_shoppers: int,
    min_history_length: int,
    seed: int,
    searching: bool = False,
) -> list[Shopper]:
    """Draws shoppers with a target event in the test window.

    Args:
        dataset: Holds the sequences.
        config: Says what a target is, and how many events the model reads.
        num_shoppers: How many; fewer come back if there are not so many.
        min_history_length: Events that a shopper must have before the request;
            those with the longest histories are taken if too few have so many.
        seed: Of the draw.
        searching: Draws shoppers whom a search led there, at the moment of the
            search. None come back where the log has no searches.
    """
    sequences = dataset.load_sequences()
    queries = build_queries(
        sequences,
        dataset.schema,
        split="test",
        targets="next" if searching else config.evaluation.targets,
        searched=searching,
    )
    lengths = queries.history_lengths(sequences)
    rows = np.flatnonzero(lengths >= min_history_length)
    if len(rows) < num_shoppers:
        rows = np.argsort(-lengths, kind="stable")[:num_shoppers]
    else:
        generator = np.random.default_rng(seed)
        rows = np.sort(generator.choice(rows, num_shoppers, replace=False))
    longest = config.retrieval.max_history_length
    reader = _Reader(dataset, sequences, queries, longest, searching)
    return [reader.read(int(row)) for row in rows]


class _Reader:
    """Turns rows of indices back into what a shop would send."""

    def __init__(
        self,
        dataset: PreparedDataset,
        sequences: EventSequences,
        queries: EvaluationQueries,
        max_history_length: int,
        searching: bool,
    ) -> None:
        self.schema = dataset.schema
        self.sequences = sequences
        self.queries = queries
        self.max_history_length = max_history_length
        self.searching = searching
        self.item_ids = dataset.item_vocabulary.tokens
        self.vocabularies = dataset.attribute_vocabularies

    def read(self, row: int) -> Shopper:
        queries, sequences = self.queries, self.sequences
        user = int(queries.user_rows[row])
        end = int(queries.history_ends[row])
        start = max(int(sequences.offsets[user]), end - self.max_history_length)
        positive = queries.positive_items[queries.positive_offsets[row]]
        return Shopper(
            user_id=str(sequences.user_ids[user]),
            history=[self._event(i) for i in range(start, end)],
            context={
                a.name: self._context(a.name, a.kind, queries.context[a.name][row])
                for a in self.schema.context
            },
            request_timestamp=int(queries.request_timestamps[row]),
            next_item_id=_token(self.item_ids, int(positive)),
            query_text=self._search(row),
        )

    def _search(self, row: int) -> str:
        texts = self.queries.query_text
        return str(texts[row]) if self.searching and texts is not None else ""

    def _event(self, i: int) -> Event:
        sequences = self.sequences
        item = _token(self.item_ids, int(sequences.item_index[i]))
        event_type = _token(self.schema.event_types, int(sequences.event_type_index[i]))
        if event_type is not None and event_type == self.schema.search_event_type:
            item = str(sequences.query_text[i])
        return Event(
            item or _UNKNOWN_ITEM,
            event_type or "unknown",
            int(sequences.timestamps[i]),
            float(sequences.dwell_seconds[i]),
        )

    def _context(
        self, name: str, kind: AttributeKind, value: Any
    ) -> str | float | None:
        if kind == AttributeKind.NUMERIC:
            return None if np.isnan(value) else float(value)
        return _token(self.vocabularies[name].tokens, int(value))


def _token(tokens: Sequence[str], index: int) -> str | None:
    """Returns the token of an index; None for padding and unknown ones."""
    place = index - NUM_SPECIAL_INDICES
    return tokens[place] if place >= 0 else None
