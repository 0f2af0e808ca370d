"""The two-tower retrieval model."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import RetrievalConfig
from tfrec.features.cloze_tokens import append_mask, without_start
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request, Searches
from tfrec.features.tokens import Tokens, find_occurrences, request_tokens
from tfrec.models.catalogue_model import CatalogueModel
from tfrec.models.event_searches import (
    project_searches,
    request_searches,
    searches_of_batch,
)
from tfrec.models.interest_scores import catalogue_scores, mean_interest
from tfrec.models.query_tower import QueryTower
from tfrec.models.regularisers import new_prototypes, regularisation
from tfrec.models.repeat_bias import RepeatBias
from tfrec.models.retrieval_batch import EncodedQueries, RetrievalBatch
from tfrec.models.retrieval_losses import total_loss
from tfrec.models.streaming_frequency import StreamingFrequency
from tfrec.models.text_sequence import SequencePooling
from tfrec.models.trained_texts import TrainedTexts
from tfrec.models.transition_mixture import TransitionMixture
from tfrec.schema import NUM_SPECIAL_INDICES, Schema


class RetrievalModel(CatalogueModel):
    """Scores the catalogue for a history with two towers.

        logit(query, i) = query . candidate(i) / temperature + bias(i) + repeat(i)
                          + match(query, i)

    `bias` is how popular the item is on its own, `repeat` (optional) what `RepeatBias`
    says of items already met, `match` (with texts) what `TextMatch` says of their
    texts: it is fitted when all else is trained, and left out until then. With
    several interests the product is the greatest of those of the query's vectors.
    Scores are the logits or, with transitions, the log of a mixture of their softmax
    with what came next after the newest items, see `TransitionMixture`.

    Args:
        config: The model's configuration.
        schema: Event types and context.
        item_table: The catalogue.
        has_repeat_bias: Whether known items get extra logits.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for
            a numeric one.
        text_pooling: How the query pools the texts of past events, beside the
            events themselves; None does not.
        text_session_seconds: A longer pause parts the sessions that are pooled
            first; None pools events without them.
        text_match_dim: Width of `TextMatch`; 0 for none. Needs texts.
        search_texts: float32 `[num_searches + 1, text_dim]`, the encoded searches
            of the log, for training; row 0 is none.
        history_texts: float32 `[num_texts + 1, text_dim]`, the encoded joined texts
            of histories, for training; row 0 is none. None: queries read none.
        search_dropout: Share of the targets whose search is hidden in a training
            step; None for that of the configuration.
        trained_texts: The text encoder, where it is trained; None where it is frozen.
        **kwargs: Passed to `TrainableModel`.

    References:
        - Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018.
        - Yi et al., RecSys 2019 (two towers, normalisation, temperature, logQ).
    """

    def __init__(
        self,
        config: RetrievalConfig,
        schema: Schema,
        item_table: ItemTable,
        *,
        has_repeat_bias: bool,
        context_sizes: dict[str, int],
        text_pooling: SequencePooling | None = None,
        text_session_seconds: float | None = None,
        text_match_dim: int = 0,
        search_texts: np.ndarray | None = None,
        history_texts: np.ndarray | None = None,
        search_dropout: float | None = None,
        trained_texts: TrainedTexts | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            config,
            item_table,
            num_event_types=len(schema.event_types),
            text_match_dim=text_match_dim,
            trained_texts=trained_texts,
            dense_gradients=config.loss == "softmax",
            **kwargs,
        )
        self.settings = config
        self.search_dropout = (
            config.query_text_dropout if search_dropout is None else search_dropout
        )
        self.search_type_index = schema.search_event_type_index
        self.query_tower = QueryTower(
            config.embedding_dim,
            num_event_types=len(schema.event_types),
            max_history_length=config.max_history_length,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feedforward_dim=config.feedforward_dim,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            use_request_time=config.use_request_time,
            context_sizes=context_sizes,
            has_search=item_table.text is not None,
            text_pooling=text_pooling,
            text_session_seconds=text_session_seconds,
            reads_histories=history_texts is not None,
            encoder=config.encoder,
            num_interests=config.num_interests,
        )
        self.history_texts = (
            None if history_texts is None else tf.constant(history_texts, tf.float32)
        )
        self.search_texts: tf.Tensor | tf.Variable | None = None
        if item_table.text is not None:
            none = np.zeros((1, item_table.text.shape[1]), np.float32)
            self.search_texts = tf.constant(
                none if search_texts is None else search_texts, tf.float32
            )
            if trained_texts is not None:
                self.search_texts = tf.Variable(self.search_texts, trainable=False)
        self.repeat_bias = (
            RepeatBias(len(schema.event_types), dtype=tf.float32)
            if has_repeat_bias
            else None
        )
        self.transition_mixture = (
            TransitionMixture(self.num_items, dtype=tf.float32)
            if config.transitions
            else None
        )
        self.log_temperature = self.add_weight(
            name="log_temperature",
            shape=(),
            initializer=tf.keras.initializers.Constant(np.log(config.temperature)),
        )
        counts = item_table.train_count[NUM_SPECIAL_INDICES:].astype(np.float32)
        # Additive smoothing keeps unseen items finite.
        frequency = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
        self.sampling_frequency = frequency.astype(np.float32)
        self.target_frequency = (
            StreamingFrequency(
                frequency.tolist(), is_shared=config.cross_replica_negatives
            )
            if config.loss in ("in_batch", "sampled_softmax")
            else None
        )
        self.intent_prototypes = new_prototypes(config)

    def item_texts(self) -> tf.Tensor | None:
        """Returns float `[num_items + 2, embedding_dim]`; None if queries read none."""
        if self.query_tower.text_sequence is None:
            return None
        return self.candidate_tower.item_texts(self.all_items)

    @property
    def second_variables(self) -> list[tf.Variable]:
        """What is trained of the text encoder: it bears smaller steps only."""
        if self.trained_texts is None:
            return []
        return self.trained_texts.encoder.trainable_variables

    @property
    def text_variables(self) -> list[tf.Variable]:
        """A trained text encoder and what it encoded; empty where it is frozen."""
        if self.trained_texts is None:
            return []
        kept = (self.candidate_tower.text_rows, self.search_texts)
        variables = [v for v in kept if isinstance(v, tf.Variable)]
        return [*self.trained_texts.encoder.weights, *variables]

    def refresh_texts(self) -> None:
        """Encodes all texts again, if the encoder is trained."""
        if self.trained_texts is None:
            return
        kept = (
            (self.candidate_tower.text_rows, self.trained_texts.encode_items()),
            (self.search_texts, self.trained_texts.encode_searches()),
        )
        for variable, vectors in kept:
            if isinstance(variable, tf.Variable) and vectors is not None:
                variable.assign(vectors)

    def query_keys(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns float32 `[num_queries, dim]`, see `candidate_keys`.

        With several interests it is `[num_queries, num_interests, dim]`.
        """
        queries = encoded.embeddings * tf.exp(-self.log_temperature)
        match = encoded.match
        if match is None:
            return queries
        if queries.shape.rank == 3:
            shape = [tf.shape(match)[0], queries.shape[1], match.shape[1]]
            match = tf.broadcast_to(match[:, tf.newaxis], shape)
        return tf.concat([queries, match], axis=-1)

    def encode(
        self,
        request: Request,
        item_vectors: tf.Tensor,
        item_texts: tf.Tensor | None = None,
        match_texts: tf.Tensor | None = None,
    ) -> EncodedQueries:
        """Encodes requests.

        Args:
            request: Histories and request data.
            item_vectors: float `[num_items + 2, embedding_dim]` from `item_vectors()`.
            item_texts: float `[num_items + 2, embedding_dim]` from `item_texts()`.
            match_texts: float32 `[num_items + 2, match_dim]` from `match_texts()`.
        """
        tokens, searches = request_tokens(request), request_searches(request)
        if self.settings.encoder == "bert4rec":
            tokens, searches = append_mask(tokens), without_start(searches)
        length = tf.reduce_sum(tf.cast(request.history_mask, tf.int32), axis=1)
        batch_size, num_tokens = tf.unstack(tf.shape(tokens.item_index))
        last = tf.range(batch_size) * num_tokens + length
        return self._encode_tokens(
            tokens,
            tf.gather(item_vectors, tokens.item_index),
            None if item_texts is None else tf.gather(item_texts, tokens.item_index),
            last,
            request.context,
            search=_given(request.query_text),
            history=_given(request.history_text),
            searches=searches,
            match_texts=_of_tokens(match_texts, tokens),
            training=False,
        )

    def scores(
        self,
        encoded: EncodedQueries,
        candidate_keys: tf.Tensor,
        item_bias: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the log-probabilities of the whole catalogue, transitions included.

        float32 `[num_queries, num_items]`.

        Args:
            encoded: What `encode` gave.
            candidate_keys: What `candidate_keys()` gives.
            item_bias: What `item_bias()` gives; None works it out.
        """
        scores = tf.nn.log_softmax(self.logits(encoded, candidate_keys, item_bias))
        if encoded.transitions is None:
            return scores
        return encoded.transitions.mixed_with(scores)

    def logits(
        self,
        encoded: EncodedQueries,
        candidate_keys: tf.Tensor,
        item_bias: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logits of the softmax, without transitions.

        float32 `[num_queries, num_items]`; the arguments are those of `scores`.
        """
        logits = catalogue_scores(self.query_keys(encoded), candidate_keys)
        logits += self.item_bias() if item_bias is None else item_bias
        if encoded.repeats is None:
            return logits
        places = tf.where(encoded.repeats.item_index > 0)  # [num_valid, 2], int64
        column = tf.gather_nd(encoded.repeats.item_index, places) - NUM_SPECIAL_INDICES
        cells = tf.stack([places[:, 0], tf.cast(column, tf.int64)], axis=1)
        extra = tf.gather_nd(encoded.repeats.logits, places)
        return tf.tensor_scatter_nd_add(logits, cells, extra)

    def call(self, batch: RetrievalBatch, training: bool = False) -> tf.Tensor:
        """Returns the mean loss of a batch; in training, with the regulariser."""
        total = total_loss(self, batch, training=training)
        loss = total / tf.maximum(tf.reduce_sum(batch.target_weights), 1.0)
        if not training or self.settings.regulariser == "none":
            return loss
        return loss + regularisation(self, batch.views)

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        return self(RetrievalBatch(*inputs), training=training)

    def encode_batch(
        self,
        batch: RetrievalBatch,
        items: tf.Tensor,
        texts: tf.Tensor | None,
        *,
        training: bool,
    ) -> EncodedQueries:
        """Encodes the queries of a training step.

        Args:
            batch: The step.
            items: float `[num_rows, num_tokens, embedding_dim]`, vectors of tokens.
            texts: float, same shape; None if queries read none.
            training: Whether searches are hidden and units dropped.
        """
        return self._encode_tokens(
            batch.tokens,
            items,
            texts,
            batch.target_tokens,
            batch.target_context,
            search=self._searches(batch, training),
            history=self._histories(batch),
            searches=self._past_searches(batch),
            targets=batch.target_items if training else None,
            training=training,
        )

    def fresh_texts(self, batch: RetrievalBatch, *, training: bool) -> tf.Tensor | None:
        """Returns encoded texts, some of the batch's anew; None for those kept.

        float32 `[num_items + 2, text_dim]`.
        """
        if self.trained_texts is None or not training:
            return None
        return self.trained_texts(self.candidate_tower.text_rows, batch.target_items)

    def _histories(self, batch: RetrievalBatch) -> tf.Tensor | None:
        if isinstance(batch.target_history, tuple) or self.history_texts is None:
            return None
        return tf.gather(self.history_texts, batch.target_history)

    def _past_searches(self, batch: RetrievalBatch) -> Searches | None:
        if isinstance(batch.past_searches, tuple) or self.search_texts is None:
            return None
        return searches_of_batch(batch.past_searches, self.search_texts)

    def _searches(self, batch: RetrievalBatch, training: bool) -> tf.Tensor | None:
        """Returns the encoded searches of the targets, some of them hidden."""
        if isinstance(batch.target_search, tuple) or self.search_texts is None:
            return None
        rows = batch.target_search
        if training and self.search_dropout > 0.0:
            hidden = tf.random.uniform(tf.shape(rows))
            rows = tf.where(hidden < self.search_dropout, 0, rows)
        return tf.gather(self.search_texts, rows)

    def _encode_tokens(
        self,
        tokens: Tokens,
        items: tf.Tensor,
        texts: tf.Tensor | None,
        query_tokens: tf.Tensor,
        context: dict[str, tf.Tensor],
        *,
        search: tf.Tensor | None,
        history: tf.Tensor | None,
        training: bool,
        searches: Searches | None = None,
        match_texts: tf.Tensor | None = None,
        targets: tf.Tensor | None = None,
    ) -> EncodedQueries:
        if not self.settings.use_event_times:
            tokens = tokens.without_times()
        match = None
        if self.text_match is not None and match_texts is not None:
            if searches is not None:
                said = project_searches(searches, self.text_match.embed)
                match_texts = said.in_place_of(match_texts)
            match = self.text_match(match_texts, tokens, query_tokens, search)
        if searches is not None:
            found = project_searches(searches, self.candidate_tower.embed_text)
            items = found.in_place_of(items)
            texts = None if texts is None else found.in_place_of(texts)
        occurrences = find_occurrences(tokens.item_index, tokens.segment_ids)
        if search is not None:
            search = self.candidate_tower.embed_text(search)
        if history is not None:
            history = self.candidate_tower.embed_text(history)
        queries = self.query_tower(
            tokens,
            items,
            occurrences,
            query_tokens,
            context,
            search=search,
            history=history,
            texts=texts,
            training=training,
        )
        repeats = None
        if self.repeat_bias is not None:
            repeats = self.repeat_bias(
                mean_interest(queries), query_tokens, tokens, occurrences, items
            )
        transitions = None
        if self.transition_mixture is not None:
            transitions = self.transition_mixture(
                mean_interest(queries), query_tokens, tokens, targets=targets
            )
        return EncodedQueries(queries, repeats, match, transitions)


def _of_tokens(match_texts: tf.Tensor | None, tokens: Tokens) -> tf.Tensor | None:
    if match_texts is None:
        return None
    return tf.gather(match_texts, tokens.item_index)


def _given(text: tf.Tensor | tuple[()]) -> tf.Tensor | None:
    return None if isinstance(text, tuple) else text
