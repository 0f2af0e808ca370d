"""The query tower: what a shopper wants next."""

from typing import Any

import tensorflow as tf

from tfrec.config import SequenceEncoderName
from tfrec.features.tokens import Occurrences, Tokens
from tfrec.models.event_encoder import EventEncoder
from tfrec.models.interest_pooling import InterestPooling
from tfrec.models.sequence_encoders.registry import build_sequence_encoder
from tfrec.models.text_sequence import SequencePooling, TextSequence


class SearchEncoder(tf.keras.layers.Layer):
    """Adds what is searched for to what the history says.

        c S(search / |search|),  0 where there is no search

    S starts as the identity, so that a search points at the items whose words it
    shares before anything is learned; c starts at the length of a state.

    Call arguments:
        search: float `[num_queries, embedding_dim]`.

    Returns:
        float `[num_queries, embedding_dim]`.
    """

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=(dim, dim),
            initializer=tf.keras.initializers.Identity(),
        )
        start = tf.keras.initializers.Constant(float(dim) ** 0.5)
        self.length = self.add_weight(name="length", shape=(), initializer=start)
        super().build(input_shape)

    def call(self, search: tf.Tensor) -> tf.Tensor:
        direction = tf.math.l2_normalize(search, axis=-1)
        return self.length * tf.matmul(direction, self.kernel)


class QueryTower(tf.keras.layers.Layer):
    """Encodes histories, and reads queries off their tokens.

        state = encoder(events)
        query = state[token] + texts[token] + sum_a C_a[context_a]
                + H history + c S(search / |search|)

    texts is `TextSequence`, where it is asked for; c is learned, S starts as the
    identity. The query is L2-normalised. It sees only events up to its token, and
    no candidate. With several interests a query is as many such vectors, with those
    of `InterestPooling` in the place of state + texts; context, H and S are added to
    each.

    Args:
        embedding_dim: Width of the result.
        num_event_types: Event types of the schema.
        max_history_length: Events that are read.
        num_layers: Blocks of the sequence encoder.
        num_heads: Attention heads.
        feedforward_dim: Width of the feed-forward nets.
        dropout: Share of dropped units.
        attention_dropout: Share of dropped weights of attention; None: as `dropout`.
        use_request_time: Whether a token knows when the next event happens.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for
            a numeric one.
        has_search: Whether queries may have a search text.
        text_pooling: How `TextSequence` pools the texts of events; None leaves it
            out.
        text_session_seconds: Of `TextSequence`, the pause that parts sessions; None
            pools events without them.
        reads_histories: Whether there is a `history`; H starts at 0.
        encoder: Which sequence encoder reads the events.
        num_interests: Vectors of a query.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        tokens: `Tokens`.
        items: float `[num_rows, num_tokens, embedding_dim]`, item vectors.
        occurrences: `Occurrences` of the tokens.
        query_tokens: int32 `[num_queries]`, places in the flattened tokens.
        context: Per attribute `[num_queries]`: int32 index, or float32 where NaN
            is unknown.
        search: float `[num_queries, embedding_dim]`, the search text in the space
            of items; zeros where nothing is searched for. None: never.
        history: float `[num_queries, embedding_dim]`, the newest texts of the
            history, read as one, in the space of items; zeros where there are none.
        texts: float `[num_rows, num_tokens, embedding_dim]`, the texts of the
            tokens' items in the space of items; only with `text_pooling`.

    Returns:
        float32 `[num_queries, embedding_dim]`, L2-normalised; with several interests
        `[num_queries, num_interests, embedding_dim]`.

    References:
        - Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
          https://arxiv.org/abs/1808.09781 (the state of the last token is the query).
        - Covington et al., "Deep Neural Networks for YouTube Recommendations",
          RecSys 2016 (searches and context beside the history).
    """

    def __init__(
        self,
        embedding_dim: int,
        *,
        num_event_types: int,
        max_history_length: int,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        dropout: float,
        attention_dropout: float | None = None,
        use_request_time: bool,
        context_sizes: dict[str, int],
        has_search: bool = False,
        text_pooling: SequencePooling | None = None,
        text_session_seconds: float | None = None,
        reads_histories: bool = False,
        encoder: SequenceEncoderName = "transformer",
        num_interests: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = {
            "embedding_dim": embedding_dim,
            "num_event_types": num_event_types,
            "max_history_length": max_history_length,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "feedforward_dim": feedforward_dim,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "use_request_time": use_request_time,
            "context_sizes": context_sizes,
            "has_search": has_search,
            "text_pooling": text_pooling,
            "text_session_seconds": text_session_seconds,
            "reads_histories": reads_histories,
            "encoder": encoder,
            "num_interests": num_interests,
        }
        self.embedding_dim = embedding_dim
        self.event_encoder = EventEncoder(
            embedding_dim,
            num_event_types,
            # The start token; or the mask, where places count from 1.
            max_history_length + (2 if encoder == "bert4rec" else 1),
            use_request_time=use_request_time,
            dropout=dropout,
        )
        self.use_request_time = use_request_time
        self.encoder = build_sequence_encoder(
            encoder,
            num_layers=num_layers,
            num_heads=num_heads,
            feedforward_dim=feedforward_dim,
            dropout=dropout,
            attention_dropout=attention_dropout,
            max_tokens=max_history_length + 1,
        )
        self.context_layers = {
            name: tf.keras.layers.Embedding(
                size, embedding_dim, embeddings_initializer="zeros", name=name
            )
            if size
            else tf.keras.layers.Dense(
                embedding_dim, kernel_initializer="zeros", name=name
            )
            for name, size in context_sizes.items()
        }
        self.search = SearchEncoder() if has_search else None
        self.history_text = (
            tf.keras.layers.Dense(
                embedding_dim, use_bias=False, kernel_initializer="zeros"
            )
            if reads_histories
            else None
        )
        self.text_sequence = (
            None
            if text_pooling is None
            else TextSequence(
                text_pooling, num_event_types, session_seconds=text_session_seconds
            )
        )
        self.interests = (
            InterestPooling(num_interests, dropout=dropout)
            if num_interests > 1
            else None
        )

    def call(
        self,
        tokens: Tokens,
        items: tf.Tensor,
        occurrences: Occurrences,
        query_tokens: tf.Tensor,
        context: dict[str, tf.Tensor],
        search: tf.Tensor | None = None,
        history: tf.Tensor | None = None,
        texts: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        events = self.event_encoder(tokens, items, occurrences, training=training)
        states = self.encoder(
            events,
            tokens.segment_ids,
            tokens.timestamps,
            tokens.next_timestamps if self.use_request_time else tokens.timestamps,
            training=training,
        )
        if self.text_sequence is not None:
            states += self.text_sequence(states, texts, tokens)
        shape = [-1, self.embedding_dim]
        if self.interests is not None:
            states = self.interests(states, tokens.segment_ids, training=training)
            shape = [-1, self.interests.num_interests, self.embedding_dim]
        queries = tf.gather(tf.reshape(states, shape), query_tokens)
        for name, layer in self.context_layers.items():
            queries += self._of_each(self._embed_context(layer, context[name]))
        if history is not None and self.history_text is not None:
            queries += self._of_each(self.history_text(history))
        if search is not None and self.search is not None:
            queries += self._of_each(self.search(search))
        return tf.math.l2_normalize(tf.cast(queries, tf.float32), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments}

    def _of_each(self, part: tf.Tensor) -> tf.Tensor:
        """Lets what is said of a query be added to all of its vectors."""
        return part if self.interests is None else part[:, tf.newaxis]

    @staticmethod
    def _embed_context(layer: tf.keras.layers.Layer, value: tf.Tensor) -> tf.Tensor:
        if isinstance(layer, tf.keras.layers.Embedding):
            known = tf.cast(value > 0, layer.compute_dtype)[:, tf.newaxis]
            return layer(value) * known
        known = tf.math.is_finite(value)
        number = tf.where(known, tf.sign(value) * tf.math.log1p(tf.abs(value)), 0.0)
        known = tf.cast(known, layer.compute_dtype)[:, tf.newaxis]
        return layer(number[:, tf.newaxis]) * known
