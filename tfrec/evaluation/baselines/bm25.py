"""The baseline of searching: words of the search in the words of items."""

import logging
from typing import Self

import bm25s
import numpy as np
import pyarrow as pa

from tfrec.data.store import TITLE, EventSequences
from tfrec.evaluation.baselines.base import Baseline, as_filler, popularity
from tfrec.evaluation.baselines.tfidf import split_words
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import AttributeKind, Schema

logging.getLogger("bm25s").setLevel(logging.WARNING)  # It says DEBUG at import.


class Bm25(Baseline):
    """Scores items by BM25 of the search text, with no eye to the shopper.

    The words of an item are those of its title and the values of its attributes
    that are not numbers; equal scores are ordered by popularity. The scores are
    those of the library bm25s, in its variant of Lucene, k1 = 1.5, b = 0.75.

    References:
        - Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
          Beyond", 2009.
        - Lu, "BM25S: Orders of magnitude faster lexical search via eager sparse
          scoring", 2024, https://arxiv.org/abs/2407.03618.
    """

    name = "bm25"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Indexes the words of the catalogue."""
        self._index = bm25s.BM25()
        self._index.index(_documents(items, schema), show_progress=False)
        counts = popularity(sequences, schema, split=split, num_items=len(items))
        self._filler = as_filler(counts, below=1e-4)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[len(rows), num_items]`; words unknown to all score 0."""
        scores = np.tile(self._filler, (len(rows), 1))
        if queries.query_text is None:
            return scores
        for place, text in enumerate(queries.query_text[rows]):
            known = [w for w in split_words(text) if w in self._index.vocab_dict]
            if known:
                scores[place] += self._index.get_scores(known)
        return scores


def _documents(items: pa.Table, schema: Schema) -> list[list[str]]:
    """Returns the words of every item, as somebody would search for them."""
    names = [TITLE] if TITLE in items.column_names else []
    names += [a.name for a in schema.item_attributes if a.kind != AttributeKind.NUMERIC]
    columns = [items[name].to_pylist() for name in names]
    texts = (" ".join(filter(None, row)) for row in zip(*columns, strict=True))
    # A document of no words would break the statistics of the others.
    return [split_words(text) or [""] for text in texts]
