"""Cold items: which they are, what training may see, and what is asked of a model."""

import gzip
import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrec.data.store import TEST, TRAIN, EventSequences
from tfrec.data.vocabulary import Vocabulary
from tfrec.evaluation.baselines.history import decayed_histories
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.schema import Schema

MIN_EVENTS = 3  # Shorter histories are wholly training, with leave-one-out.
TEXT_DECAY = 0.7  # Weight of an event against the one after it, as in `TfIdf`.


class History(NamedTuple):
    """One line of a sequences file.

    Attributes:
        user_id: Who.
        item_ids: What, oldest first.
    """

    user_id: str
    item_ids: tuple[str, ...]


class Queries(NamedTuple):
    """All users' last events as queries, in the order of the file.

    Attributes:
        sequences: The histories, and the last events as test.
        cold: The queries whose last event is a cold item.
        warm: The others.
    """

    sequences: EventSequences
    cold: EvaluationQueries
    warm: EvaluationQueries


def read_histories(paths: Sequence[str]) -> list[History]:
    """Reads sequences files, `user item item ...` a line, also gzipped."""
    histories = []
    for path in paths:
        opener = gzip.open if path.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as stream:
            lines = [line.split() for line in stream]
        histories += [History(words[0], tuple(words[1:])) for words in lines if words]
    return histories


def choose_cold(histories: Sequence[History], *, share: float) -> frozenset[str]:
    """Returns the share of the items whose SHA-256, as hex, sorts last.

    Raises:
        ValueError: If that is no item, or all of them.
    """
    items = {item for history in histories for item in history.item_ids}
    number = round(share * len(items))
    if not 0 < number < len(items):
        raise ValueError(
            "`--share` must leave both cold and warm items. Received: "
            f"{share} of {len(items):,} items, which are {number}."
        )
    ordered = sorted(items, key=lambda item: hashlib.sha256(item.encode()).hexdigest())
    return frozenset(ordered[-number:])


def training_lines(
    histories: Sequence[History], cold: Collection[str]
) -> tuple[str, ...]:
    """Returns the file to train on: cold items only as a user's last event.

    With leave-one-out that event is the test, which training never sees. Where too
    few events are left for that, the cold one is left out, too.
    """
    lines = []
    for user_id, item_ids in histories:
        kept = [i for i in item_ids[:-1] if i not in cold]
        last = item_ids[-1:]
        if last and (last[0] not in cold or len(kept) + 1 >= MIN_EVENTS):
            kept.append(last[0])
        if kept:
            lines.append(" ".join([user_id, *kept]))
    return tuple(lines)


def write_if_changed(path: Path, lines: Sequence[str]) -> None:
    """Writes a file unless it holds the same: what was prepared of it stays good."""
    text = "".join(line + "\n" for line in lines)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def build_cold_queries(
    histories: Sequence[History],
    cold: Collection[str],
    vocabulary: Vocabulary,
    schema: Schema,
    *,
    keep_cold_history: bool,
) -> Queries:
    """Asks for every user's last event, given the earlier ones.

    Args:
        histories: All of them; a user of a single event has an empty history.
        cold: The cold items.
        vocabulary: Of the dataset that the model was trained on.
        schema: Of that dataset, with one event type.
        keep_cold_history: Whether earlier events of cold items are part of the
            history.

    Raises:
        ValueError: If a last item is not in the catalogue.
    """
    kept = [
        [i for i in h.item_ids[:-1] if keep_cold_history or i not in cold]
        + [h.item_ids[-1]]
        for h in histories
        if h.item_ids
    ]
    users = [h.user_id for h in histories if h.item_ids]
    sequences = _sequences(users, kept, vocabulary, schema)
    queries = build_queries(sequences, schema, split="test", targets="next")
    lost = int((queries.positive_items < 2).sum())
    if lost:
        raise ValueError(
            f"The catalogue must hold all items, cold ones, too. Received: {lost:,} "
            "users whose last item is not in it. Set `data.items`."
        )
    is_cold = np.array([items[-1] in cold for items in kept])
    return Queries(
        sequences,
        queries.take(np.flatnonzero(is_cold)),
        queries.take(np.flatnonzero(~is_cold)),
    )


def _sequences(
    users: Sequence[str],
    items: Sequence[Sequence[str]],
    vocabulary: Vocabulary,
    schema: Schema,
) -> EventSequences:
    lengths = np.array([len(row) for row in items], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    size = int(offsets[-1])
    split = np.full(size, TRAIN, np.int8)
    split[offsets[1:] - 1] = TEST
    (event_type,) = schema.event_types
    type_index = schema.event_type_index(event_type)
    return EventSequences(
        user_ids=np.array(users, object),
        offsets=offsets,
        item_index=vocabulary.lookup([i for row in items for i in row]),
        event_type_index=np.full(size, type_index, np.int32),
        timestamps=np.zeros(size, np.int64),
        dwell_seconds=np.zeros(size, np.float32),
        session_index=np.zeros(size, np.int32),
        split=split,
        query_text=np.full(size, "", object),
        context={},
    )


class TextNeighbours:
    """Scores an item by the cosine of its text with the texts of the history.

    The history is the sum of its items' vectors, each event weighing
    `TEXT_DECAY` of the one after it. What all texts of the catalogue share is
    taken out first.

    Args:
        item_text: float32 `[num_items, text_dim]`; rows of zeros have no text.
    """

    name = "text neighbours"

    def __init__(self, item_text: np.ndarray) -> None:
        said = np.any(item_text != 0.0, axis=1)
        centred = item_text - item_text[said].mean(axis=0)
        length = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        self._vectors = np.where(said[:, np.newaxis], centred / length, 0.0)
        self._vectors = self._vectors.astype(np.float32)

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[num_rows, num_items]`."""
        histories = decayed_histories(
            sequences,
            queries,
            rows,
            num_items=len(self._vectors),
            decay=TEXT_DECAY,
            max_length=50,
        )
        return (histories @ self._vectors) @ self._vectors.T


class Renamed:
    """A scorer under another name.

    Args:
        scorer: Any function that scores as `Scorer.score` does.
        name: Row of the table.
    """

    def __init__(self, scorer: Callable[..., np.ndarray], name: str) -> None:
        self.name = name
        self.score = scorer
