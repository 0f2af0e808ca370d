"""What retrieval is trained on in a step, and what its queries become."""

from typing import NamedTuple

import tensorflow as tf

from tfrec.features.request import Leaf
from tfrec.features.tokens import Tokens
from tfrec.models.repeat_bias import RepeatLogits
from tfrec.models.transition_mixture import Transitions


class RetrievalBatch(NamedTuple):
    """One training step: rows of tokens and what follows some of them.

    Attributes:
        tokens: `Tokens`, `[num_rows, num_tokens]`.
        target_tokens: int32 `[num_targets]`, places in the flattened tokens of
            the queries.
        target_items: int32 `[num_targets]`, item index of each positive.
        target_weights: float32 `[num_targets]`.
        target_context: Per context attribute `[num_targets]`.
        target_search: int32 `[num_targets]`, row of the search in the model's
            `search_texts`; 0 for none. `()` where nobody searches.
        target_history: int32 `[num_targets]`, row of the joined texts of the history
            in the model's `history_texts`; 0 for none. `()` where they are not read.
        past_searches: int32 `[num_rows, num_tokens]`, row in the model's
            `search_texts` of tokens that are a search; 0 for others. `()` where
            searches are no events.
        views: The histories that the regulariser compares, as a batch of their own:
            all queries of the first kind of view, then all of the second, and so on;
            weight 0 where a view was not found. `()` without a regulariser.
    """

    tokens: Tokens
    target_tokens: Leaf
    target_items: Leaf
    target_weights: Leaf
    target_context: dict[str, Leaf]
    target_search: Leaf = ()
    target_history: Leaf = ()
    past_searches: Leaf = ()
    views: "RetrievalBatch | tuple[()]" = ()


class EncodedQueries(NamedTuple):
    """Queries ready to be compared with candidates.

    Attributes:
        embeddings: float32 `[num_queries, embedding_dim]`, L2-normalised; with several
            interests `[num_queries, num_interests, embedding_dim]`.
        repeats: Extra logits of known items; None where the model has none.
        match: float32 `[num_queries, match_dim]`, what texts are compared with, see
            `TextMatch`; None where the model has none.
        transitions: What came next after the newest items; None where the model has
            no `TransitionMixture`.
        history: int32 `[num_queries, num_events]`, item index of the events of a
            request; None in training.
        has_search: bool `[num_queries]`, whether a request searches; None where the
            model reads no searches, and in training.
    """

    embeddings: tf.Tensor
    repeats: RepeatLogits | None
    match: tf.Tensor | None = None
    transitions: Transitions | None = None
    history: tf.Tensor | None = None
    has_search: tf.Tensor | None = None
