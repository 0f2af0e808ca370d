"""Both trained models behind one interface, as evaluation and export use them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tfrec.features.request import Request
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.models.retrieval_model import EncodedQueries, RetrievalModel
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import TextReader


class RankedCandidates(NamedTuple):
    """Scores of candidates, in the order the candidates were given.

    Attributes:
        scores: float32 `[batch_size, num_candidates]`, the final order.
        probabilities: Per output name of `Schema.heads` float32
            `[batch_size, num_candidates]`.
    """

    scores: tf.Tensor
    probabilities: dict[str, tf.Tensor]


class Recommender(Protocol):
    """What an exported model is made of; all methods are graph-safe."""

    num_items: int
    max_history_length: int
    num_candidates: int

    @property
    def saved_resources(self) -> Sequence[Any]:
        """Look-up tables and loaded models that an export must keep hold of."""
        ...

    def encode_texts(self, texts: tf.Tensor) -> tf.Tensor | tuple[()]:
        """Encodes search texts for `Request.query_text`; `()` if it reads none."""
        ...

    def encode(self, request: Request) -> Any:
        """Encodes the queries of requests, once for all that is asked about them.

        Returns a nest of tensors, in which None and () may stand.
        """
        ...

    def scores_of(self, encoded: Any) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]`; column j is item index j + 2.

        They are log-probabilities: `exp` of a row sums to 1. `encoded` is what
        `encode` gave.
        """
        ...

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: Any,
    ) -> RankedCandidates:
        """Ranks int32 `[batch_size, num_candidates]` item indices.

        Indices 0 and 1 (padding, unknown) get the score -inf and probability 0.
        `retrieval_scores` are those of the candidates, same shape; `encoded` is
        what `encode` gave for the request.
        """
        ...

    def candidate_embeddings(self) -> tf.Tensor:
        """Returns float32 `[num_items, embedding_dim]`, L2-normalised."""
        ...

    def query_embeddings(self, encoded: Any) -> tf.Tensor:
        """Returns float32 `[batch_size, embedding_dim]`, L2-normalised.

        `encoded` is what `encode` gave.
        """
        ...

    def text_embeddings(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[batch_size, embedding_dim]` of texts, L2-normalised.

        It is the vector of an item that has this text and nothing else; zeros
        where there are no words.
        """
        ...


class TrainedRecommender(tf.Module):
    """A trained retrieval model, and a ranking model if there is one.

    Item vectors are computed once, here; call `refresh` after more training.

    Args:
        retrieval: The trained retrieval model.
        ranking: The trained ranking model; None ranks in the order of retrieval
            and gives no probabilities.
        num_candidates: How many retrieved candidates are ranked.
        text_reader: Reads searches, and histories as one text; None where there is
            no text.
    """

    def __init__(
        self,
        retrieval: RetrievalModel,
        ranking: RankingModel | None,
        *,
        num_candidates: int,
        text_reader: TextReader | None = None,
    ) -> None:
        super().__init__()
        self.retrieval = retrieval
        self.ranking = ranking
        self.num_items = retrieval.num_items
        self.max_history_length = retrieval.settings.max_history_length
        self.num_candidates = num_candidates
        self.text_reader = text_reader
        self._item_vectors = tf.Variable(retrieval.item_vectors(), trainable=False)
        self._candidates = tf.Variable(
            retrieval.candidate_embeddings(), trainable=False
        )
        texts = retrieval.item_texts()
        self._texts = None if texts is None else tf.Variable(texts, trainable=False)

    def refresh(self) -> None:
        """Computes the item vectors anew."""
        self._item_vectors.assign(self.retrieval.item_vectors())
        self._candidates.assign(self.retrieval.candidate_embeddings())
        if self._texts is not None:
            self._texts.assign(self.retrieval.item_texts())

    def encode_texts(self, texts: tf.Tensor) -> tf.Tensor | tuple[()]:
        """Encodes string `[batch_size]` for `Request.query_text`."""
        return () if self.text_reader is None else self.text_reader.read_searches(texts)

    @property
    def text_dim(self) -> int | None:
        """Width of `Request.query_text`; None where no text is read."""
        return None if self.text_reader is None else self.text_reader.text_dim

    @property
    def reads_histories(self) -> bool:
        """Whether a request needs `Request.history_text`."""
        return self.text_reader is not None and self.text_reader.reads_histories

    @property
    def saved_resources(self) -> Sequence[Any]:
        """Look-up tables of the text encoder, see `Recommender`."""
        return () if self.text_encoder is None else self.text_encoder.saved_resources

    @property
    def text_encoder(self) -> TextEncoder | None:
        """What reads texts; None where there is no text."""
        return None if self.text_reader is None else self.text_reader.encoder

    def query_embeddings(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns the vectors of encoded queries, see `Recommender`."""
        return encoded.embeddings

    def text_embeddings(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of texts alone, see `Recommender`."""
        if self.text_encoder is None:
            raise ValueError(
                "`text_embeddings` needs a text encoder. Set `text` in the "
                "configuration and train again."
            )
        return self.retrieval.text_embeddings(self.text_encoder.encode(texts))

    def encode(self, request: Request) -> EncodedQueries:
        """Encodes the queries of requests."""
        if self.text_reader is not None and isinstance(request.history_text, tuple):
            history = self.text_reader.read_histories(request.item_index)
            request = request._replace(history_text=history)
        return self.retrieval.encode(request, self._item_vectors, self._texts)

    def retrieval_scores(self, request: Request) -> tf.Tensor:
        """Returns log-probabilities over the catalogue, see `Recommender`."""
        return self.scores_of(self.encode(request))

    def scores_of(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns log-probabilities over the catalogue of encoded queries."""
        return tf.nn.log_softmax(self.retrieval.scores(encoded, self._candidates))

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: EncodedQueries | None = None,
    ) -> RankedCandidates:
        """Ranks candidates, see `Recommender`; encodes the request if need be."""
        known = candidate_index >= NUM_SPECIAL_INDICES
        if self.ranking is None:
            return RankedCandidates(tf.where(known, retrieval_scores, -np.inf), {})
        # Unknown candidates have no retrieval score; any finite one will do, since
        # their results are replaced below.
        finite = tf.where(known, retrieval_scores, 0.0)
        finite = tf.where(tf.math.is_finite(finite), finite, 0.0)
        encoded = self.encode(request) if encoded is None else encoded
        inputs = RankingInputs(request, encoded.embeddings, candidate_index, finite)
        logits = self.ranking(inputs)
        probabilities = tf.sigmoid(logits)
        probabilities *= tf.expand_dims(tf.cast(known, tf.float32), -1)
        scores = tf.where(known, self.ranking.scores(logits), -np.inf)
        heads = dict(
            zip(self.ranking.heads, tf.unstack(probabilities, axis=-1), strict=True)
        )
        return RankedCandidates(scores, heads)

    def candidate_embeddings(self) -> tf.Tensor:
        """Returns the L2-normalised item vectors, see `Recommender`."""
        return self._candidates.read_value()
