"""What is asked of a scorer: queries, their histories and their positives."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.schema import Schema

EvaluatedSplit = Literal["validation", "test"]
Targets = Literal["next", "window"]


@dataclass(frozen=True)
class EvaluationQueries:
    """Queries of one split, one per user who has a target event in it.

    Attributes:
        user_rows: int32 `[num_queries]`, row in `EventSequences`.
        history_ends: int64 `[num_queries]`; the history of a query is
            `offsets[user_row]:history_end`, so the end is exclusive.
        request_timestamps: int64 `[num_queries]`, unix seconds of the first
            target event; 0 without times.
        positive_offsets: int64 `[num_queries + 1]`; positives of query q are
            `positive_offsets[q]:positive_offsets[q + 1]`.
        positive_items: int32 `[num_positives]`, item index, distinct per query;
            1 is an item outside the catalogue (several of them count as one,
            since their ids are gone).
        positive_types: int32 `[num_positives]`, event type index, the strongest
            where an item has several events.
        context: Per context attribute `[num_queries]`, of the first target event.
        query_text: object `[num_queries]` of str, what was searched for before the
            first target event; "" where nothing was.
        split: Which split the positives are from.
        targets: `next` or `window`, see `build_queries`.
    """

    user_rows: np.ndarray
    history_ends: np.ndarray
    request_timestamps: np.ndarray
    positive_offsets: np.ndarray
    positive_items: np.ndarray
    positive_types: np.ndarray
    context: dict[str, np.ndarray] = field(default_factory=dict)
    query_text: np.ndarray | None = None
    split: EvaluatedSplit = "test"
    targets: Targets = "next"

    @property
    def num_queries(self) -> int:
        """Number of queries."""
        return len(self.user_rows)

    @property
    def num_positives(self) -> int:
        """Number of positives of all queries."""
        return len(self.positive_items)

    @property
    def query_of_positive(self) -> np.ndarray:
        """int64 `[num_positives]`: the query of every positive."""
        return np.repeat(np.arange(self.num_queries), np.diff(self.positive_offsets))

    def history_lengths(self, sequences: EventSequences) -> np.ndarray:
        """Returns int64 `[num_queries]`: events before the query, of any type."""
        return self.history_ends - sequences.offsets[self.user_rows]

    def take(self, rows: np.ndarray) -> "EvaluationQueries":
        """Returns the queries `rows`, in that order."""
        offsets, positions = ragged_ranges(
            self.positive_offsets[rows], self.positive_offsets[rows + 1]
        )
        return EvaluationQueries(
            user_rows=self.user_rows[rows],
            history_ends=self.history_ends[rows],
            request_timestamps=self.request_timestamps[rows],
            positive_offsets=offsets,
            positive_items=self.positive_items[positions],
            positive_types=self.positive_types[positions],
            context={name: values[rows] for name, values in self.context.items()},
            query_text=None if self.query_text is None else self.query_text[rows],
            split=self.split,
            targets=self.targets,
        )


class Scorer(Protocol):
    """Anything that scores the whole catalogue for queries."""

    @property
    def name(self) -> str:
        """Row of the report."""
        ...

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Scores all items for the queries `rows`.

        Returns:
            float32 `[len(rows), num_items]`, column j is the item index j + 2,
            higher is better, -inf means "never shown". May be overwritten by
            the caller.
        """
        ...


def build_queries(
    sequences: EventSequences,
    schema: Schema,
    *,
    split: EvaluatedSplit,
    targets: Targets,
    max_queries: int | None = None,
    seed: int = 0,
    searched: bool = False,
) -> EvaluationQueries:
    """Builds one query per user who has a target event in `split`.

    `next`: the positive is the user's first target event in the split; the
    history is every event before it, also of the same split. `window`: the
    history ends before the user's first event in the split, of any type; the
    positives are the distinct items of all target events in the split. Users
    without an earlier event count too; their history is empty.

    Args:
        sequences: All events, those before the split included.
        schema: Says which event types are targets.
        split: `validation` or `test`.
        targets: `next` or `window`.
        max_queries: Keeps so many queries, drawn by `seed`; None keeps all.
        seed: Of the draw.
        searched: Whether only target events count that a search led to.

    Raises:
        ValueError: If an argument is none of its choices, or `max_queries` < 1.
    """
    _check_choice("split", split, get_args(EvaluatedSplit))
    _check_choice("targets", targets, get_args(Targets))
    if max_queries is not None and max_queries < 1:
        raise ValueError(
            "`max_queries` must be at least 1, or None for all queries. "
            f"Received: max_queries={max_queries}."
        )
    in_split = sequences.split == SPLIT_INDEX[split]
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    is_target = in_split & np.isin(sequences.event_type_index, types)
    if searched:
        is_target &= sequences.query_text != ""
    target_events = np.flatnonzero(is_target)
    user_rows, first = np.unique(sequences.user_rows[target_events], return_index=True)
    first_targets = target_events[first]
    if targets == "next":
        history_ends = first_targets
        query_of_event, events = np.arange(len(user_rows)), first_targets
    else:
        split_events = np.flatnonzero(in_split)
        users, first = np.unique(sequences.user_rows[split_events], return_index=True)
        history_ends = split_events[first][np.searchsorted(users, user_rows)]
        events = target_events
        query_of_event = np.searchsorted(user_rows, sequences.user_rows[events])
    offsets, items, positive_types = _distinct_positives(
        query_of_event,
        sequences.item_index[events],
        sequences.event_type_index[events],
        num_queries=len(user_rows),
    )
    queries = EvaluationQueries(
        user_rows=user_rows.astype(np.int32),
        history_ends=history_ends.astype(np.int64),
        request_timestamps=sequences.timestamps[first_targets],
        positive_offsets=offsets,
        positive_items=items,
        positive_types=positive_types,
        context={n: values[first_targets] for n, values in sequences.context.items()},
        query_text=sequences.query_text[first_targets],
        split=split,
        targets=targets,
    )
    if max_queries is None or max_queries >= queries.num_queries:
        return queries
    generator = np.random.default_rng(seed)
    drawn = generator.choice(queries.num_queries, max_queries, replace=False)
    return queries.take(np.sort(drawn))


def history_events(
    sequences: EventSequences,
    queries: EvaluationQueries,
    rows: np.ndarray,
    *,
    max_length: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the history events of the queries `rows`, oldest first.

    Args:
        sequences: Holds the events.
        queries: Holds the queries.
        rows: int `[batch_size]`, which queries.
        max_length: Keeps the newest so many events; None keeps all.

    Returns:
        `offsets` int64 `[batch_size + 1]` and `events` int64, positions in the
        arrays of `sequences`; the history of row b is
        `events[offsets[b]:offsets[b + 1]]`.
    """
    ends = queries.history_ends[rows]
    starts = sequences.offsets[queries.user_rows[rows]]
    if max_length is not None:
        starts = np.maximum(starts, ends - max_length)
    return ragged_ranges(starts, ends)


def ragged_ranges(
    starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates the ranges `starts[i]:ends[i]`.

    Returns:
        `offsets` int64 `[num_ranges + 1]` and the values, int64.

    Example:
        >>> ragged_ranges(np.array([3, 7]), np.array([5, 8]))[1]
        array([3, 4, 7])
    """
    lengths = ends - starts
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    values = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return offsets, values


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}."
        )


def _distinct_positives(
    query_of_event: np.ndarray,
    items: np.ndarray,
    types: np.ndarray,
    *,
    num_queries: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins events of one query and item; keeps the order of their first event."""
    num_indices = int(items.max(initial=0)) + 1
    keys = query_of_event.astype(np.int64) * num_indices + items
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    strongest = np.zeros(len(first), np.int32)
    np.maximum.at(strongest, inverse, types)
    order = np.argsort(first)
    first = first[order]
    counts = np.bincount(query_of_event[first], minlength=num_queries)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return offsets, items[first].astype(np.int32), strongest[order].astype(np.int32)
