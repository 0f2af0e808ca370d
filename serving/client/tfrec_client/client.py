"""The client for ordinary, blocking code."""

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import numpy as np

from tfrec_client import codec
from tfrec_client.contract import (
    EMBED_QUERY,
    EMBED_TEXT,
    RANK,
    RECOMMEND,
    RETRIEVE,
    SIMILAR_ITEMS,
    TensorSpec,
)
from tfrec_client.errors import InvalidRequestError
from tfrec_client.predictor import Predictor
from tfrec_client.requests import (
    DEFAULT_K,
    Event,
    ListSituation,
    QueryRequest,
    QuerySituation,
    RankingSituation,
    RankRequest,
    RecommendationRequest,
    Situation,
)
from tfrec_client.results import RankedItem, Recommendation, ScoredItem


class RecommenderClient(Predictor):
    """Asks one model on one server; safe to share between threads.

    One channel is opened and reused. As a context manager the client checks
    the model's schema on entry and closes the channel on exit.

    Args:
        target: `host:port`, or any gRPC target; of `dns:///models:8500` all
            addresses are used in turn.
        model_name: Name of the model on the server.
        version: Number of a version; None means the newest that is loaded.
        label: Label of a version, instead of its number.
        timeout_seconds: Deadline of every call, retries included; each method
            takes another one for its call.
        max_retries: Further attempts when the server is UNAVAILABLE, 0 to 4.
        credentials: For TLS, from `grpc.ssl_channel_credentials()`; None sends
            plain text.
        signatures: What will be used; `check_schema` demands these. `embed_text` is
            not among them by default: only a model that reads texts has it.

    Raises:
        InvalidRequestError: If an argument is out of its range.

    Example:
        with RecommenderClient("127.0.0.1:8500", model_name="tfrec") as client:
            history = [Event("sku-1", "view", 1_700_000_000)]
            for item in client.recommend(history, k=5):
                print(item.item_id, item.score)
    """

    def recommend(
        self,
        history: Sequence[Event],
        *,
        k: int = DEFAULT_K,
        timeout_seconds: float | None = None,
        **situation: Unpack[ListSituation],
    ) -> list[Recommendation]:
        """Returns the best items for a shopper, best first.

        Args:
            history: Past events, oldest first; empty for a new shopper.
            k: How many items; fewer come back if the catalogue has no more.
            timeout_seconds: Deadline of this call.
            **situation: Attributes of `RecommendationRequest`: `query_text`,
                `request_timestamp`, `exclude_item_ids`, `exclude_seen`,
                `context`, `filters`; where the model was exported with them
                `order`, `head_weights`, `boosts`, `bids`, `caps`,
                `must_include_item_ids`, `diversity`.

        Raises:
            RecommenderError: One of its kinds, see `tfrec_client.errors`.
        """
        request = RecommendationRequest(history, k=k, **situation)
        return self.recommend_batch([request], timeout_seconds=timeout_seconds)[0]

    def recommend_batch(
        self,
        requests: Sequence[RecommendationRequest],
        *,
        timeout_seconds: float | None = None,
    ) -> list[list[Recommendation]]:
        """Answers many shoppers in one call; see `recommend`."""
        outputs = self._ask(
            RECOMMEND, lambda i: codec.encode_requests(requests, i), timeout_seconds
        )
        return codec.decode_recommendations(outputs, [r.k for r in requests])

    def retrieve(
        self,
        history: Sequence[Event],
        *,
        k: int = DEFAULT_K,
        timeout_seconds: float | None = None,
        **situation: Unpack[Situation],
    ) -> list[ScoredItem]:
        """Returns the best items by the retrieval model alone; see `recommend`."""
        request = RecommendationRequest(history, k=k, **situation)
        return self.retrieve_batch([request], timeout_seconds=timeout_seconds)[0]

    def retrieve_batch(
        self,
        requests: Sequence[RecommendationRequest],
        *,
        timeout_seconds: float | None = None,
    ) -> list[list[ScoredItem]]:
        """Answers many shoppers in one call; see `retrieve`."""
        outputs = self._ask(
            RETRIEVE, lambda i: codec.encode_requests(requests, i), timeout_seconds
        )
        return codec.decode_scored_items(outputs, [r.k for r in requests])

    def rank(
        self,
        history: Sequence[Event],
        candidate_item_ids: Sequence[str],
        *,
        timeout_seconds: float | None = None,
        **situation: Unpack[RankingSituation],
    ) -> list[RankedItem]:
        """Scores given items for a shopper, in the order given; see `recommend`."""
        request = RankRequest(
            history, candidate_item_ids=candidate_item_ids, **situation
        )
        return self.rank_batch([request], timeout_seconds=timeout_seconds)[0]

    def rank_batch(
        self,
        requests: Sequence[RankRequest],
        *,
        timeout_seconds: float | None = None,
    ) -> list[list[RankedItem]]:
        """Answers many shoppers in one call; see `rank`."""
        outputs = self._ask(
            RANK, lambda i: codec.encode_requests(requests, i), timeout_seconds
        )
        return codec.decode_ranked(outputs, requests)

    def similar_items(
        self, item_id: str, k: int = DEFAULT_K, *, timeout_seconds: float | None = None
    ) -> list[ScoredItem]:
        """Returns the items nearest to one item, nearest first, itself left out."""
        found = self.similar_items_batch([item_id], k, timeout_seconds=timeout_seconds)
        return found[0]

    def similar_items_batch(
        self,
        item_ids: Sequence[str],
        k: int = DEFAULT_K,
        *,
        timeout_seconds: float | None = None,
    ) -> list[list[ScoredItem]]:
        """Answers for many items in one call; see `similar_items`."""
        inputs = codec.encode_similar_items(item_ids, k)
        outputs = self._ask(SIMILAR_ITEMS, lambda _: inputs, timeout_seconds)
        return codec.decode_scored_items(outputs, [k] * len(item_ids))

    def embed_query(
        self,
        history: Sequence[Event] = (),
        *,
        timeout_seconds: float | None = None,
        **situation: Unpack[QuerySituation],
    ) -> np.ndarray:
        """Returns the vector of a history and a search, float32 `[embedding_dim]`.

        Its length is 1; the nearer an item's vector, the higher it is retrieved. A
        model whose queries are several vectors returns `[num_interests,
        embedding_dim]`, and the nearest of them counts.

        Args:
            history: Past events, oldest first; empty for a new shopper.
            timeout_seconds: Deadline of this call.
            **situation: Attributes of `QueryRequest`: `query_text`,
                `request_timestamp`, `context`.

        Raises:
            RecommenderError: One of its kinds, see `tfrec_client.errors`.
        """
        request = QueryRequest(history, **situation)
        vectors = self.embed_query_batch([request], timeout_seconds=timeout_seconds)
        return vectors[0]

    def embed_query_batch(
        self,
        requests: Sequence[QueryRequest],
        *,
        timeout_seconds: float | None = None,
    ) -> np.ndarray:
        """Returns the vectors of many requests; see `embed_query`.

        float32 `[len(requests), embedding_dim]`, or `[len(requests), num_interests,
        embedding_dim]`.
        """
        outputs = self._ask(
            EMBED_QUERY, lambda i: codec.encode_queries(requests, i), timeout_seconds
        )
        return outputs["embedding"]

    def embed_text(
        self, texts: Sequence[str], *, timeout_seconds: float | None = None
    ) -> np.ndarray:
        """Returns the vectors of texts, float32 `[len(texts), embedding_dim]`.

        It is the text's projection into the space of items, as searches are read, of
        length 1; zeros where there are no words.

        Raises:
            SchemaMismatchError: If the model reads no texts.
            RecommenderError: Another of its kinds, see `tfrec_client.errors`.
        """
        inputs = codec.encode_texts(texts)
        outputs = self._ask(EMBED_TEXT, lambda _: inputs, timeout_seconds)
        return outputs["embedding"]

    def _ask(
        self,
        signature_name: str,
        encode: Callable[[Mapping[str, TensorSpec]], codec.Arrays],
        timeout_seconds: float | None,
    ) -> codec.Arrays:
        if self._signatures is None:
            self.check_schema(timeout_seconds=timeout_seconds)
        inputs = self._inputs(signature_name)
        try:
            return self.predict(
                signature_name, encode(inputs), timeout_seconds=timeout_seconds
            )
        except InvalidRequestError as error:
            # A swapped-in version may declare other context or filters.
            if error.__cause__ is None:
                raise
            self.check_schema(timeout_seconds=timeout_seconds)
            if self._inputs(signature_name) == inputs:
                raise
        return self.predict(
            signature_name,
            encode(self._inputs(signature_name)),
            timeout_seconds=timeout_seconds,
        )

    def _inputs(self, signature_name: str) -> Mapping[str, TensorSpec]:
        signatures = self._signatures or {}
        return self._connection.find_signature(signatures, signature_name).inputs
