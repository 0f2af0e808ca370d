"""Both trained models behind one interface, as evaluation and export use them."""

from typing import NamedTuple, Protocol

import tensorflow as tf

from tfrec.features.request import Request


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

    def retrieval_scores(self, request: Request) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]`; column j is item index j + 2."""
        ...

    def rank(
        self, request: Request, candidate_index: tf.Tensor, retrieval_scores: tf.Tensor
    ) -> RankedCandidates:
        """Ranks int32 `[batch_size, num_candidates]` item indices.

        Indices 0 and 1 (padding, unknown) get the score -inf and probability 0.
        `retrieval_scores` are those of the candidates, same shape.
        """
        ...

    def candidate_embeddings(self) -> tf.Tensor:
        """Returns float32 `[num_items, embedding_dim]`, L2-normalised."""
        ...
