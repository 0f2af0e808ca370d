"""Trained models as scorers."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.data.histories import RequestArrays, gather_requests, newest
from tfrec.data.store import EventSequences
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.features.request import Leaf, Request, Searches, request_of
from tfrec.models.final_order import FinalOrder, ScoredCandidates
from tfrec.models.recommender import TrainedRecommender
from tfrec.schema import NUM_SPECIAL_INDICES, PADDING_INDEX
from tfrec.text.reader import Vectors


def request_spec(
    context: dict[str, np.ndarray],
    *,
    text_dim: int | None = None,
    history_text_dim: int | None = None,
    searches_dim: int | None = None,
) -> Request:
    """Returns the `tf.TensorSpec`s of a batch of requests.

    Args:
        context: Arrays of the context, for their dtypes.
        text_dim: Width of encoded searches; None where there are none.
        history_text_dim: Width of encoded histories; None where they are not read.
        searches_dim: Width of the encoded searches of histories; None where no event
            is a search.
    """
    rows = [None, None]

    def text(dim: int | None) -> Leaf:
        return () if dim is None else tf.TensorSpec([None, dim], tf.float32)

    return Request(
        tf.TensorSpec(rows, tf.int32),
        tf.TensorSpec(rows, tf.int32),
        tf.TensorSpec(rows, tf.int64),
        tf.TensorSpec(rows, tf.float32),
        tf.TensorSpec([None], tf.int64),
        {k: tf.TensorSpec([None], tf.as_dtype(v.dtype)) for k, v in context.items()},
        text(text_dim),
        text(history_text_dim),
        searches=()
        if searches_dim is None
        else Searches(tf.TensorSpec(rows, tf.int32), text(searches_dim)),
    )


def spec_of(
    recommender: TrainedRecommender, context: dict[str, np.ndarray], *, searches: bool
) -> Request:
    """Returns the specs of what a recommender is asked with."""
    return request_spec(
        context,
        text_dim=recommender.text_dim if searches else None,
        history_text_dim=recommender.text_dim if recommender.reads_histories else None,
        searches_dim=None
        if recommender.search_type_index is None
        else recommender.text_dim,
    )


def search_vectors(recommender: TrainedRecommender, texts: np.ndarray) -> Vectors:
    """Encodes an object array of str for `Request.query_text`, each text once."""
    reader = recommender.text_reader
    return () if reader is None else reader.vectors(texts.tolist())


def with_history_text(
    recommender: TrainedRecommender, arrays: RequestArrays
) -> RequestArrays:
    """Encodes the texts of histories, joined ones and searches; each once."""
    reader, texts = recommender.text_reader, arrays.search_text
    if reader is None:
        return arrays
    if reader.reads_histories:
        # Ranking may read more of the past; the text is of what retrieval reads.
        length = recommender.retrieval.settings.max_history_length
        items = arrays.item_index
        searched = texts
        if not isinstance(texts, tuple):
            searched = newest(texts, items, length)
        vectors = reader.vectors(reader.join(newest(items, items, length), searched))
        arrays = arrays._replace(history_text=vectors)
    if isinstance(texts, tuple):
        return arrays
    return arrays._replace(searches=reader.past_searches(texts), search_text=())


class _ModelScorer:
    """Gathers requests of queries and runs a compiled function on them.

    Args:
        recommender: The trained models.
        searches: Whether requests carry the search text of their query.
    """

    def __init__(
        self, recommender: TrainedRecommender, *, searches: bool = False
    ) -> None:
        self.recommender = recommender
        self.searches = searches
        self._compiled: Any = None

    def requests(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> Request:
        """Returns the requests of some queries, as arrays."""
        arrays = gather_requests(
            sequences,
            queries.user_rows[rows],
            queries.history_ends[rows],
            request_timestamps=queries.request_timestamps[rows],
            context={k: v[rows] for k, v in queries.context.items()},
            max_history_length=self.recommender.max_history_length,
            query_text=self._search(queries, rows),
            search_type_index=self.recommender.search_type_index,
        )
        return request_of(with_history_text(self.recommender, arrays))

    def _search(
        self, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray | tuple[()]:
        if not self.searches or queries.query_text is None:
            return ()
        return search_vectors(self.recommender, queries.query_text[rows])

    def _compile(self, function: Any, context: dict[str, np.ndarray]) -> Any:
        if self._compiled is None:
            spec = spec_of(self.recommender, context, searches=self.searches)
            self._compiled = tf.function(
                function, input_signature=[spec], autograph=False
            )
        return self._compiled


class RetrievalScorer(_ModelScorer):
    """Scores the catalogue by the retrieval model."""

    name = "retrieval"

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[num_rows, num_items]`, log-probabilities."""
        request = self.requests(sequences, queries, rows)
        run = self._compile(self.recommender.retrieval_scores, queries.context)
        return run(request).numpy()


class PipelineScorer(_ModelScorer):
    """Scores as served: the best of retrieval in the order of ranking.

    The first `num_candidates` of retrieval come first, in the order of their
    final score; the others follow in the order of retrieval. Candidates of one final
    score keep the order of retrieval, as in served lists: it is no tie that counts
    against the model.

    Args:
        recommender: With a ranking model.
        exclude_seen: Whether history items give up their places among the
            candidates, as `exclude_seen` of a request does.
        searches: Whether requests carry the search text of their query.
        final_order: Orders by its default, as a request that names this order;
            None orders as a request that names none.
    """

    name = "ranking"

    def __init__(
        self,
        recommender: TrainedRecommender,
        *,
        exclude_seen: bool = False,
        searches: bool = False,
        final_order: FinalOrder | None = None,
    ) -> None:
        super().__init__(recommender, searches=searches)
        self.exclude_seen = exclude_seen
        self.final_order = final_order
        if final_order is not None:
            self.name = f"{self.name}, order {final_order.default}"

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[num_rows, num_items]`."""
        request = self.requests(sequences, queries, rows)
        run = self._compile(self._rank_retrieved, queries.context)
        scores, columns, order = (t.numpy() for t in run(request))
        # Retrieval scores are log-probabilities, at most 0; places above that
        # are given by rank alone, so candidates stay ahead and keep their order.
        width = columns.shape[1]
        places = np.arange(width, 0, -1, dtype=np.float32)[None]
        np.put_along_axis(
            scores, np.take_along_axis(columns, order, axis=1), places, axis=1
        )
        return scores

    def _rank_retrieved(
        self, request: Request
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        encoded = self.recommender.encode(request)
        scores = self.recommender.scores_of(encoded)
        pool = scores
        if self.exclude_seen:
            places = tf.where(request.item_index >= NUM_SPECIAL_INDICES)
            column = tf.gather_nd(request.item_index, places) - NUM_SPECIAL_INDICES
            cells = tf.stack([places[:, 0], tf.cast(column, tf.int64)], axis=1)
            hidden = tf.fill([tf.shape(cells)[0]], -np.inf)
            pool = tf.tensor_scatter_nd_update(pool, cells, hidden)
        k = min(self.recommender.num_candidates, self.recommender.num_items)
        top, columns = tf.math.top_k(pool, k)
        # As served: where all that is left is hidden, there is no candidate.
        index = tf.where(top > -np.inf, columns + NUM_SPECIAL_INDICES, PADDING_INDEX)
        ranked = self.recommender.rank(request, index, top, encoded=encoded)
        final = ranked.scores
        if self.final_order is not None:
            known = index >= NUM_SPECIAL_INDICES
            retrieved = tf.where(known, top, 0.0)
            final = self.final_order(
                ScoredCandidates(index, ranked.probabilities, retrieved)
            )
            final = tf.where(known, final, -np.inf)
        order = tf.argsort(final, direction="DESCENDING", stable=True)
        return scores, columns, order
