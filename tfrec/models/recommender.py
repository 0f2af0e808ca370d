"""Both trained models behind the one interface that evaluation and export use."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.features.request import Request
from tfrec.models.final_order import FinalOrder, ScoredCandidates
from tfrec.models.history_search import newest_events
from tfrec.models.new_item_places import TEN, NewItemLimit, keep_places
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.models.recommender_interface import (
    BehaviourForecast,
    FieldWeights,
    RankedCandidates,
)
from tfrec.models.retrieval_batch import EncodedQueries
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import TextReader


class TrainedRecommender(tf.Module):
    """A trained retrieval model, and a ranking model if there is one.

    Item vectors are computed once, here; call `refresh` after more training.

    Args:
        retrieval: The trained retrieval model.
        ranking: The trained ranking model; None ranks in the order of retrieval
            and gives no probabilities.
        num_candidates: How many retrieved candidates are ranked.
        text_reader: Reads searches, and histories as one text; None where there is
            no text. One whose encoder cannot read in the graph gives texts to items
            alone, and requests are answered as if there were no reader.
        final_order: Makes scores of probabilities; None leaves those of the ranking
            model, the weighted sum of its heads.
    """

    def __init__(
        self,
        retrieval: RetrievalModel,
        ranking: RankingModel | None,
        *,
        num_candidates: int,
        text_reader: TextReader | None = None,
        final_order: FinalOrder | None = None,
    ) -> None:
        super().__init__()
        self.retrieval = retrieval
        self.ranking = ranking
        self.num_items = retrieval.num_items
        asked = None if ranking is None else ranking.settings.max_history_length
        self.max_history_length = asked or retrieval.settings.max_history_length
        self.num_candidates = num_candidates
        reads_requests = text_reader is not None and text_reader.reads_requests
        self.text_reader = text_reader if reads_requests else None
        self._text_encoder = None if text_reader is None else text_reader.encoder
        self.final_order = final_order
        retrieval.update_neighbours()
        self._item_vectors = tf.Variable(retrieval.item_vectors(), trainable=False)
        self._candidates = tf.Variable(retrieval.candidate_keys(), trainable=False)
        self._bias = tf.Variable(retrieval.item_bias(), trainable=False)
        texts = retrieval.item_texts()
        self._texts = None if texts is None else tf.Variable(texts, trainable=False)
        match_texts = retrieval.match_texts()
        self._match_texts = (
            None if match_texts is None else tf.Variable(match_texts, trainable=False)
        )
        self._limit_new_items = self._new_item_limit()
        self._is_new = self._unranked_items()
        self._forget_texts()

    def _new_items(self) -> np.ndarray:
        """Returns bool `[num_items + 2]`: items that get their room by a budget."""
        has_room = self.retrieval.settings.new_item_budget is not None
        has_room &= self.retrieval.candidate_tower.has_content
        is_new = ~self.retrieval.is_known & has_room
        is_new[:NUM_SPECIAL_INDICES] = False
        return is_new

    def _new_item_limit(self) -> NewItemLimit | None:
        is_new, per_ten = self._new_items(), self.retrieval.settings.new_items_per_ten
        if not is_new.any() or per_ten == TEN:
            return None
        return NewItemLimit(is_new, per_ten=per_ten)

    def _unranked_items(self) -> tf.Tensor | None:
        """Returns bool `[num_items + 2]`; None where no item keeps its place.

        What turned up after the training of retrieval may stand near others by now:
        ranking knows it then, see `RankingModel.set_frozen`.
        """
        if self.ranking is None:
            return None
        met = self.ranking.near.item_index.numpy().any(axis=1)
        is_new = self._new_items() & ~met
        return tf.constant(is_new) if is_new.any() else None

    def _forget_texts(self) -> None:
        """Has texts read anew where their encoder has learned since."""
        if self.text_reader is not None and self.retrieval.trained_texts is not None:
            self.text_reader.forget()

    def refresh(self) -> None:
        """Computes the item vectors anew."""
        self._forget_texts()
        self.retrieval.update_neighbours()
        self._item_vectors.assign(self.retrieval.item_vectors())
        self._candidates.assign(self.retrieval.candidate_keys())
        self._bias.assign(self.retrieval.item_bias())
        if self._texts is not None:
            self._texts.assign(self.retrieval.item_texts())
        if self._match_texts is not None:
            self._match_texts.assign(self.retrieval.match_texts())

    def encode_texts(self, texts: tf.Tensor) -> tf.Tensor | tuple[()]:
        """Encodes string `[batch_size]` for `Request.query_text`."""
        return () if self.text_reader is None else self.text_reader.read_searches(texts)

    @property
    def text_dim(self) -> int | None:
        """Width of `Request.query_text`; None where no text is read."""
        return None if self.text_reader is None else self.text_reader.text_dim

    @property
    def search_type_index(self) -> int | None:
        """Type of the events that are searches; None where no search is an event."""
        return None if self.text_reader is None else self.retrieval.search_type_index

    @property
    def reads_histories(self) -> bool:
        """Whether a request needs `Request.history_text`."""
        return self.text_reader is not None and self.text_reader.reads_histories

    @property
    def saved_resources(self) -> Sequence[Any]:
        """Look-up tables of the text encoder, see `Recommender`."""
        if self.text_reader is None:
            return ()
        return self.text_reader.encoder.saved_resources

    @property
    def text_encoder(self) -> TextEncoder | None:
        """What gave items their text vectors; None where there is no text."""
        return self._text_encoder

    def query_embeddings(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns float32 `[batch_size, embedding_dim]`, see `Recommender`."""
        return encoded.embeddings

    def text_embeddings(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[num_texts, embedding_dim]`, see `Recommender`.

        Args:
            texts: string `[num_texts]`; "" and words that are not known give zeros.

        Raises:
            ValueError: If no text encoder reads in the graph.
        """
        if self.text_reader is None:
            raise ValueError(
                "`text_embeddings` needs a text encoder that reads in the graph. Set "
                "`text` in the configuration, to a WordPiece model such as MiniLM, and "
                "train again."
            )
        return self.retrieval.text_embeddings(self.text_reader.encoder.encode(texts))

    def encode(self, request: Request) -> EncodedQueries:
        """Encodes the queries of requests from the events that retrieval reads."""
        length = self.retrieval.settings.max_history_length
        if self.max_history_length > length:
            request = newest_events(request, length)
        if self.text_reader is not None:
            request = _with_texts(request, self.text_reader)
        encoded = self.retrieval.encode(
            request, self._item_vectors, self._texts, self._match_texts
        )
        search = request.query_text
        return encoded._replace(
            history=request.item_index,
            has_search=None
            if isinstance(search, tuple)
            else tf.reduce_any(search != 0.0, axis=1),
        )

    def retrieval_scores(self, request: Request) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]`, see `Recommender.scores_of`."""
        return self.scores_of(self.encode(request))

    def scores_of(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]`, log-probabilities of items.

        Those of new items are moved so that they take no more places of a list than
        `retrieval.new_items_per_ten`.
        """
        scores = self.retrieval.scores(encoded, self._candidates, self._bias)
        return self._with_new_items_limited(scores, encoded)

    def _with_new_items_limited(
        self, scores: tf.Tensor, encoded: EncodedQueries
    ) -> tf.Tensor:
        if self._limit_new_items is None:
            return scores
        if encoded.history is None:
            raise ValueError(
                "`encoded` must tell which items were met. Received: history=None. Use "
                "what `encode` of the recommender gives."
            )
        return self._limit_new_items(
            scores,
            encoded.history,
            encoded.has_search,
            lift=tf.convert_to_tensor(self.retrieval.new_item_lift),
        )

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: EncodedQueries | None = None,
    ) -> RankedCandidates:
        """Ranks candidates, see `Recommender`; encodes the request if need be.

        Args:
            request: Histories and request data.
            candidate_index: int32 `[batch_size, num_candidates]`, item indices; below 2
                padding or unknown.
            retrieval_scores: float32, same shape, from `scores_of`.
            encoded: What `encode` gave for the request; None: encoded here.
        """
        known = candidate_index >= NUM_SPECIAL_INDICES
        if self.ranking is None:
            return RankedCandidates(tf.where(known, retrieval_scores, -np.inf), {})
        # Unknown candidates have no retrieval score; any finite one will do, since
        # their results are replaced below.
        finite = tf.where(known, retrieval_scores, 0.0)
        finite = tf.where(tf.math.is_finite(finite), finite, 0.0)
        encoded = self.encode(request) if encoded is None else encoded
        inputs = RankingInputs(request, encoded.embeddings, candidate_index, finite)
        outputs = self.ranking.forward(inputs)
        logits = self.ranking.calibrated(outputs.logits, request)
        probabilities = tf.sigmoid(logits)
        probabilities *= tf.expand_dims(tf.cast(known, tf.float32), -1)
        scores = self.ranking.scores(logits)
        heads = dict(
            zip(self.ranking.heads, tf.unstack(probabilities, axis=-1), strict=True)
        )
        if self._is_new is not None:
            is_new = tf.gather(self._is_new, candidate_index)
            scores = keep_places(
                scores, finite, is_known=known & ~is_new, is_new=is_new
            )
        if self.final_order is not None:
            scores = self.final_order(ScoredCandidates(candidate_index, heads, finite))
        dwell = self.ranking.dwell_seconds(outputs)
        if dwell is not None:
            dwell = tf.where(known, dwell, 0.0)
        return RankedCandidates(tf.where(known, scores, -np.inf), heads, dwell)

    def forecast(self, request: Request) -> BehaviourForecast:
        """Estimates what the shopper will do next, asked without candidates.

            expected(type)    = sum_c P(type of c)
            probability(type) = 1 - prod_c (1 - P(type of c))

        over the `num_candidates` best of retrieval; events on other items are in
        neither. A head is the probability that *this* candidate gets the event, so
        summing it over candidates needs no weight by retrieval, however they depend on
        one another. The second formula takes them for independent. It is too large
        where events come together, as the purchases of one basket do, and too small
        where one rules the others out. For a type of which there is one event at most,
        such as the next view, read the expected number: it is the probability.

        Heads of types that are learned from shown lists say what would happen if the
        candidate were shown; of those both tell what showing *all* candidates would
        bring, not what will happen.

        Args:
            request: Whose next events.

        Raises:
            ValueError: If there is no ranking model.
        """
        if self.ranking is None:
            raise ValueError(
                "`forecast` needs a ranking model: retrieval has no heads. Train with "
                "`ranking` in the configuration."
            )
        encoded = self.encode(request)
        k = min(self.num_candidates, self.num_items)
        top, column = tf.math.top_k(self.scores_of(encoded), k)
        index = column + NUM_SPECIAL_INDICES
        ranked = self.rank(request, index, top, encoded=encoded)
        heads = ranked.probabilities.items()
        none = {h: tf.reduce_sum(tf.math.log1p(-p), axis=1) for h, p in heads}
        return BehaviourForecast(
            {h: tf.reduce_sum(p, axis=1) for h, p in heads},
            {h: -tf.math.expm1(value) for h, value in none.items()},
        )

    def field_weights(
        self, request: Request, candidate_index: tf.Tensor
    ) -> FieldWeights:
        """Says which fields of candidates count for whom, see `WeightedFusion`.

        Args:
            request: Who asks.
            candidate_index: int32 `[batch_size, num_candidates]`, item indices.

        Raises:
            ValueError: If there is no ranking model, or its fusion is another one.
        """
        if self.ranking is None:
            raise ValueError(
                "`field_weights` needs a ranking model: retrieval has no fusion. Train "
                "with `ranking.fusion: weighted` in the configuration."
            )
        candidate_index = tf.convert_to_tensor(candidate_index, tf.int32)
        known = candidate_index >= NUM_SPECIAL_INDICES
        encoded = self.encode(request)
        column = tf.where(known, candidate_index - NUM_SPECIAL_INDICES, 0)
        scores = tf.gather(self.scores_of(encoded), column, batch_dims=1)
        inputs = RankingInputs(request, encoded.embeddings, candidate_index, scores)
        names, weights = self.ranking.field_weights(inputs)
        return FieldWeights(names, tf.where(tf.expand_dims(known, -1), weights, 0.0))

    def candidate_embeddings(self) -> tf.Tensor:
        """Returns float32 `[num_items, embedding_dim]`, see `Recommender`."""
        width = self.retrieval.settings.embedding_dim
        return self._candidates[:, :width]  # Behind them: what texts are compared by.


def _with_texts(request: Request, reader: TextReader) -> Request:
    """Encodes the texts of histories that are not encoded yet, in the graph."""
    texts = request.search_text
    if isinstance(request.history_text, tuple):
        history = reader.read_histories(request.item_index, texts)
        request = request._replace(history_text=history)
    if not request.searches and not isinstance(texts, tuple):
        request = request._replace(searches=reader.read_past_searches(texts))
    return request
