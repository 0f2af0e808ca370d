"""What evaluation and export ask of a recommender, and what it answers."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tfrec.features.request import Request


class RankedCandidates(NamedTuple):
    """Scores of candidates, in the order the candidates were given.

    Attributes:
        scores: float32 `[batch_size, num_candidates]`, the final order.
        probabilities: Per output name of `Schema.heads` float32
            `[batch_size, num_candidates]`.
        dwell_seconds: float32 `[batch_size, num_candidates]`, how long a shopper who
            opens the item will typically stay; None where that is not predicted.
    """

    scores: tf.Tensor
    probabilities: dict[str, tf.Tensor]
    dwell_seconds: tf.Tensor | None = None


class BehaviourForecast(NamedTuple):
    """What a shopper will do next, by head, over the best candidates of retrieval.

    Estimates, not bounds: see `TrainedRecommender.forecast`.

    Attributes:
        expected_items: Per output name of `Schema.heads` float32 `[batch_size]`, how
            many candidates will get such an event.
        probabilities: The same names, that at least one of them will, if candidates
            were independent.
    """

    expected_items: dict[str, tf.Tensor]
    probabilities: dict[str, tf.Tensor]


class FieldWeights(NamedTuple):
    """How much each field of candidates weighs, of the fusion `weighted`.

    Attributes:
        names: Of the fields, such as `item_price`, in the order of the last axis.
        weights: float32 `[batch_size, num_candidates, num_fields]`, which sums to 1
            over it; 0 for padding and unknown candidates.
    """

    names: tuple[str, ...]
    weights: tf.Tensor


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
        """Encodes search texts for `Request.query_text`; `()` if it reads none.

        `texts` are string `[batch_size]`; the result is float32 `[batch_size,
        text_dim]`, zeros where nothing is searched for.
        """
        ...

    def encode(self, request: Request) -> Any:
        """Encodes the queries of requests, once for all that is asked about them.

        Returns a nest of tensors, in which None and () may stand.
        """
        ...

    def scores_of(self, encoded: Any) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]`; column j is item index j + 2.

        They are log-probabilities: `exp` of a row sums to 1 over the items as they were
        trained, before new items are moved to the places that they may take. `encoded`
        is what `encode` gave.
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

        With several interests it is `[batch_size, num_interests, embedding_dim]`.
        `encoded` is what `encode` gave.
        """
        ...

    def text_embeddings(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[batch_size, embedding_dim]` of texts, L2-normalised.

        It is the text's projection into the space of items, as searches are read;
        zeros where there are no words.
        """
        ...
