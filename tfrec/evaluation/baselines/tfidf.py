"""The text baseline: items whose words resemble those of the history."""

import re
from collections.abc import Iterable
from typing import Self

import numpy as np
import pyarrow as pa
from scipy import sparse

from tfrec.data.store import TITLE, EventSequences
from tfrec.evaluation.baselines.base import Baseline, as_filler, popularity
from tfrec.evaluation.baselines.history import decayed_histories
from tfrec.evaluation.baselines.sparse_rows import dense_product, normalise_rows
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import AttributeKind, AttributeSpec, Schema

# Chinese, Japanese and Korean are written without spaces between words.
_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")


class TfIdf(Baseline):
    """Scores an item by the cosine of its words with those of the history.

    The words of an item are those of its title and the values of its attributes
    that are not numbers. The history is the sum of its items' vectors, weighted by
    `decay ** age` (`decayed_histories`). Equal scores are ordered by popularity.

        weight(word, item) = (1 + log count) · inverse frequency
        inverse frequency = 1 + log((1 + items) / (1 + items with the word))

    Args:
        decay: Weight of a moment relative to the next newer one, in (0, 1].
        max_history_length: Newest events that are read.

    References:
        - Salton and Buckley, "Term-Weighting Approaches in Automatic Text
          Retrieval", 1988.
    """

    name = "tfidf"

    def __init__(self, *, decay: float = 0.7, max_history_length: int = 50) -> None:
        self.decay = decay
        self.max_history_length = max_history_length

    @classmethod
    def missing_data(cls, items: pa.Table, schema: Schema) -> str | None:
        """Needs a title or a categorical or path attribute."""
        if any(item_words(items, schema)):
            return None
        return "the catalogue has neither titles nor categorical attributes"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Builds the item vectors."""
        self._items = tfidf_vectors(item_words(items, schema))
        self._words = sparse.csr_array(self._items.T)
        counts = popularity(sequences, schema, split=split, num_items=len(items))
        self._filler = as_filler(counts, below=1e-4)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Multiplies profiles with item vectors."""
        histories = decayed_histories(
            sequences,
            queries,
            rows,
            num_items=len(self._filler),
            decay=self.decay,
            max_length=self.max_history_length,
        )
        profiles = normalise_rows(histories @ self._items)
        return dense_product(profiles, self._words) + self._filler


def split_words(text: str) -> list[str]:
    """Splits text into lower-case words; runs of CJK characters into pairs.

    Example:
        >>> split_words("LED-Lamp 5.5W")
        ['led', 'lamp', '5', '5w']
        >>> split_words("红色台灯")
        ['红色', '色台', '台灯']
    """
    words = []
    for run in _WORD.findall(text.lower()):
        if _IS_CJK.match(run) and len(run) > 1:
            words.extend(run[i : i + 2] for i in range(len(run) - 1))
        else:
            words.append(run)
    return words


def tfidf_vectors(documents: Iterable[list[str]]) -> sparse.csr_array:
    """Returns float32 `[num_documents, num_words]` of L2-normalised rows."""
    vocabulary: dict[str, int] = {}
    columns, lengths = [], []
    for words in documents:
        columns.extend(vocabulary.setdefault(word, len(vocabulary)) for word in words)
        lengths.append(len(words))
    rows = np.repeat(np.arange(len(lengths)), lengths)
    shape = (len(lengths), max(len(vocabulary), 1))
    counts = sparse.csr_array(
        (np.ones(len(columns), np.float32), (rows, np.array(columns, np.int64))),
        shape=shape,
    )
    counts.sum_duplicates()
    documents_with = np.bincount(counts.indices, minlength=shape[1])
    inverse_frequency = np.log((1 + shape[0]) / (1 + documents_with)) + 1
    counts.data = 1 + np.log(counts.data)
    counts.data *= inverse_frequency[counts.indices].astype(np.float32)
    return normalise_rows(counts)


def item_words(items: pa.Table, schema: Schema) -> list[list[str]]:
    """Returns per item the words of its title and its attribute values.

    An attribute value is one word, marked with the attribute's name; of a path
    every prefix is one.
    """
    documents: list[list[str]] = [[] for _ in range(len(items))]
    if TITLE in items.column_names:
        for words, title in zip(documents, items[TITLE].to_pylist(), strict=True):
            words.extend(split_words(title or ""))
    for attribute in _text_attributes(schema):
        values = items[attribute.name].to_pylist()
        for words, value in zip(documents, values, strict=True):
            tokens = attribute.tokens(value)
            words.extend(f"{attribute.name}={token.lower()}" for token in tokens)
    return documents


def _text_attributes(schema: Schema) -> list[AttributeSpec]:
    return [a for a in schema.item_attributes if a.kind != AttributeKind.NUMERIC]
