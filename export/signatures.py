"""The exported model: raw request values in, ranked item ids out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from export.batch_size import of_one_batch
from export.filters import item_filters
from export.list_rules import RequestListRules
from export.masks import MISSING_SCORE, keep_first_k, mask_items, top_items
from export.ordering import RequestOrdering
from export.shared_call import SharedCall
from tfrec.data.store import PreparedDataset
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.history import build_request, items_of_events
from tfrec.features.lookup import VocabularyLookup
from tfrec.features.request import Request
from tfrec.models.final_order import FinalOrder, ScoredCandidates
from tfrec.models.recommender_interface import RankedCandidates, Recommender
from tfrec.schema import (
    CANDIDATE_ITEM_IDS,
    CONTEXT_PREFIX,
    DWELL_SECONDS,
    EMBEDDING,
    EXCLUDE_ITEM_IDS,
    EXCLUDE_SEEN,
    FILTER_PREFIX,
    HISTORY_EVENT_TYPES,
    HISTORY_ITEM_IDS,
    ITEM_IDS,
    NUM_SPECIAL_INDICES,
    QUERY_TEXT,
    RETRIEVAL_SCORES,
    SCORES,
    TEXT,
    AttributeKind,
    FeatureSpec,
    K,
    Schema,
    SignatureName,
)

Tensors = dict[str, tf.Tensor]


class ServingModule(tf.Module):
    """Look-ups and a trained recommender behind the signatures of the schema.

    Each signature is a method that takes its inputs by name and runs eagerly;
    `concrete_functions` traces all of them for the SavedModel. Row b of a batch is
    answered as if it came alone. Missing places are "", -inf and 0: those behind
    `k[b]` or the catalogue's end, unknown items, and items that the request
    excludes or filters out.

    Args:
        recommender: The trained models. Their variables become the module's.
        dataset: The prepared dataset they were trained on.
        schema: Names of inputs and outputs; `dataset.schema` with the filters
            of the export.
        asset_dir: An existing folder for vocabulary files, which must stay until
            the SavedModel is written.
        final_order: The formulas that requests may choose and weigh; None where
            the schema has no rules about them.
        event_type_names: The log's own spellings of event types, which requests
            may have, too.

    Raises:
        ValueError: If the recommender does not fit the dataset or the schema.
    """

    def __init__(
        self,
        recommender: Recommender,
        dataset: PreparedDataset,
        *,
        schema: Schema,
        asset_dir: Path,
        final_order: FinalOrder | None = None,
        event_type_names: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.num_items = _checked_num_items(recommender, dataset)
        # Held untracked, so that Keras models in it are not saved layer by layer:
        # only the variables that the signatures read belong into the export.
        self._recommender = _Untracked(recommender)
        self._resources = list(recommender.saved_resources)
        self._items = VocabularyLookup(
            dataset.item_vocabulary, asset_dir / "item_id.txt"
        )
        self._event_types = VocabularyLookup(
            Vocabulary(schema.event_types),
            asset_dir / "event_type.txt",
            spellings=event_type_names,
        )
        self._context = _context_lookups(schema, dataset, asset_dir)
        self._filters = item_filters(schema, dataset, asset_dir)
        embeddings = tf.math.l2_normalize(recommender.candidate_embeddings(), axis=1)
        self._embeddings = tf.Variable(embeddings, trainable=False, name="candidates")
        self._retired = dataset.retired
        self.final_order = final_order
        self._ordering = RequestOrdering(final_order, schema, items=self._items)
        self._rules = RequestListRules(dataset, schema, items=self._items)
        self.encode = SharedCall(self._encode_request)
        self.score = SharedCall(self._score_catalogue)
        self._ranked = SharedCall(self._rank_candidates)
        self.model_variables: list[tf.Variable] = []

    @property
    def filter_examples(self) -> dict[str, tuple[str, ...]]:
        """Some values per filter that items of the catalogue have."""
        return {name: f.examples for name, f in self._filters.items()}

    def concrete_functions(self) -> dict[SignatureName, Any]:
        """Traces every signature with the input shapes of the schema."""
        functions = {}
        for name in self.schema.signatures:
            specs = {
                spec.name: tensor_spec(spec)
                for spec in self.schema.signature_inputs(name)
            }
            functions[name] = self._traced(name).get_concrete_function(**specs)
        variables = {
            variable.ref(): variable
            for function in functions.values()
            for variable in function.graph.variables
        }
        self.model_variables = [ref.deref() for ref in variables]
        return functions

    def _traced(self, name: SignatureName) -> Any:
        method = getattr(self, name.value)

        def checked(**raw: tf.Tensor) -> Tensors:
            return method(**of_one_batch(raw))

        # Nothing here needs AutoGraph, which takes longer than all the rest.
        return tf.function(checked, autograph=False)

    def recommend(self, **raw: tf.Tensor) -> Tensors:
        """Retrieves candidates, ranks them and returns the best `k`."""
        request, encoded, retrieval_scores = self.score(self._scoring_inputs(raw))
        num_columns = self._num_columns(raw[K])
        fewest = min(self._recommender.value.num_candidates, self.num_items)
        scores, index = top_items(retrieval_scores, tf.maximum(num_columns, fewest))
        # Another row's `k` may be greater: it must not widen the choice of this one.
        index = keep_first_k(index, tf.maximum(raw[K], fewest))
        index, scores = self._rules.add_promised(
            raw, index, scores, allowed_scores=retrieval_scores
        )
        ranked = self._rank(raw, request, encoded, index, scores)
        order, is_filled = self._rules.choose(
            raw,
            index,
            ranked.scores,
            num_columns=num_columns,
            embeddings=self._embeddings,
        )

        def ordered(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, order, batch_dims=1)

        index = keep_first_k(tf.where(is_filled, ordered(index), 0), raw[K])
        is_item = index > 0
        return {
            ITEM_IDS: self._items.tokens(index),
            SCORES: tf.where(is_item, ordered(ranked.scores), MISSING_SCORE),
            RETRIEVAL_SCORES: tf.where(is_item, ordered(scores), MISSING_SCORE),
            **{
                name: tf.where(is_item, ordered(values), 0.0)
                for name, values in _predicted(ranked).items()
            },
        }

    def retrieve(self, **raw: tf.Tensor) -> Tensors:
        """Returns the best `k` by retrieval score alone."""
        _, _, scores = self.score(self._scoring_inputs(raw))
        return self._best(scores, raw[K], self._num_columns(raw[K]))

    def rank(self, **raw: tf.Tensor) -> Tensors:
        """Scores the given candidates, in the order given."""
        request, encoded, allowed_scores = self.score(self._scoring_inputs(raw))
        index = self._items.lookup(raw[CANDIDATE_ITEM_IDS])
        column = tf.maximum(index - NUM_SPECIAL_INDICES, 0)
        scores = tf.gather(allowed_scores, column, batch_dims=1)
        is_item = (index >= NUM_SPECIAL_INDICES) & (scores > MISSING_SCORE)
        index = tf.where(is_item, index, 0)
        ranked = self._rank(raw, request, encoded, index, scores)
        return {
            SCORES: ranked.scores,
            **{
                name: tf.where(is_item, values, 0.0)
                for name, values in _predicted(ranked).items()
            },
        }

    def similar_items(self, **raw: tf.Tensor) -> Tensors:
        """Returns the `k` items nearest to one item, by cosine, without itself."""
        index = self._items.lookup(raw[ITEM_IDS])
        is_item = index >= NUM_SPECIAL_INDICES
        column = tf.maximum(index - NUM_SPECIAL_INDICES, 0)
        embedding = tf.gather(self._embeddings, column)
        scores = tf.matmul(embedding, self._embeddings, transpose_b=True)
        scores = tf.where(is_item[:, tf.newaxis], scores, MISSING_SCORE)
        scores = self._offered(mask_items(scores, index[:, tf.newaxis]))
        return self._best(scores, raw[K], self._num_columns(raw[K]))

    def embed_query(self, **raw: tf.Tensor) -> Tensors:
        """Returns the L2-normalised vector of a history and a search."""
        _, _, encoded = self.encode(self._query_inputs(raw))
        return {EMBEDDING: self._recommender.value.query_embeddings(encoded)}

    def embed_text(self, **raw: tf.Tensor) -> Tensors:
        """Returns a text's projection into the space of items, L2-normalised."""
        return {EMBEDDING: self._recommender.value.text_embeddings(raw[TEXT])}

    def _query_inputs(self, raw: Mapping[str, tf.Tensor]) -> Tensors:
        """Returns what tells of the shopper: all that `embed_query` takes."""
        return {spec.name: raw[spec.name] for spec in self.schema.query_features}

    def _scoring_inputs(self, raw: Mapping[str, tf.Tensor]) -> Tensors:
        """Returns what is the same for all signatures that score the catalogue."""
        names = {EXCLUDE_ITEM_IDS, EXCLUDE_SEEN}
        names |= {FILTER_PREFIX + name for name in self._filters}
        return self._query_inputs(raw) | {name: raw[name] for name in sorted(names)}

    def _encode_request(self, raw: Tensors) -> tuple[tf.Tensor, Request, Any]:
        """Returns the items of all the history, the request and its encoding."""
        types = self._event_types.lookup(raw[HISTORY_EVENT_TYPES])
        item_index = self._items.lookup(raw[HISTORY_ITEM_IDS])
        item_index = items_of_events(item_index, types, self.schema)
        request = build_request(
            raw,
            item_index,
            types,
            schema=self.schema,
            context=self._context,
            max_history_length=self._recommender.value.max_history_length,
        )
        search = self._recommender.value.encode_texts(raw[QUERY_TEXT])
        request = request._replace(query_text=search)
        return item_index, request, self._recommender.value.encode(request)

    def _score_catalogue(self, raw: Tensors) -> tuple[Request, Any, tf.Tensor]:
        """Returns request, encoding, and scores: -inf where an item is not wanted."""
        seen, request, encoded = self.encode(self._query_inputs(raw))
        scores = self._offered(self._recommender.value.scores_of(encoded))
        excluded = self._items.lookup(raw[EXCLUDE_ITEM_IDS])
        # All of the history counts as seen, also what is too old to be read.
        seen = tf.where(raw[EXCLUDE_SEEN][:, tf.newaxis], seen, 0)
        scores = mask_items(scores, tf.concat([excluded, seen], axis=1))
        for name, item_filter in self._filters.items():
            scores = item_filter.mask(scores, raw[FILTER_PREFIX + name])
        return request, encoded, scores

    def _offered(self, scores: tf.Tensor) -> tf.Tensor:
        """Sets the scores of items that are not sold any more to -inf."""
        if not self._retired.any():
            return scores
        return tf.where(tf.constant(self._retired), MISSING_SCORE, scores)

    def _rank(
        self,
        raw: Mapping[str, tf.Tensor],
        request: Request,
        encoded: Any,
        index: tf.Tensor,
        scores: tf.Tensor,
    ) -> RankedCandidates:
        """Ranks candidates, and scores them anew where the request wants it."""
        ranked = self._ranked(request, encoded, index, scores)
        finite = tf.where(index > 0, scores, 0.0)
        candidates = ScoredCandidates(index, ranked.probabilities, finite)
        final = self._ordering.scores(raw, candidates, ranked.scores)
        return ranked._replace(scores=tf.where(index > 0, final, MISSING_SCORE))

    def _rank_candidates(
        self, request: Request, encoded: Any, index: tf.Tensor, scores: tf.Tensor
    ) -> RankedCandidates:
        """Ranks candidates; index 0 is a missing place and gets the score -inf."""
        is_item = index > 0
        # An infinite input would turn whatever a ranker averages into NaN.
        finite = tf.where(is_item, scores, 0.0)
        ranked = self._recommender.value.rank(request, index, finite, encoded=encoded)
        if set(ranked.probabilities) != set(self.schema.heads):
            raise ValueError(
                "`Recommender.rank` must return one probability per head. Received: "
                f"{sorted(ranked.probabilities)}, expected {list(self.schema.heads)}."
            )
        if self.schema.has_dwell and ranked.dwell_seconds is None:
            raise ValueError(
                "`Recommender.rank` must return `dwell_seconds`, as the schema says. "
                "Received: None. Export with the configuration of the training."
            )
        return ranked._replace(scores=tf.where(is_item, ranked.scores, MISSING_SCORE))

    def _best(self, scores: tf.Tensor, k: tf.Tensor, num_columns: tf.Tensor) -> Tensors:
        best, index = top_items(scores, num_columns)
        index = keep_first_k(index, k)
        return {
            ITEM_IDS: self._items.tokens(index),
            SCORES: tf.where(index > 0, best, MISSING_SCORE),
        }

    def _num_columns(self, k: tf.Tensor) -> tf.Tensor:
        """Returns the width of the answer: the largest `k`, at most the catalogue."""
        positive = tf.debugging.assert_positive(
            k, message="`k` must be at least 1 in every row. Ask for one item or more"
        )
        with tf.control_dependencies([] if positive is None else [positive]):
            return tf.minimum(tf.reduce_max(k), self.num_items)


class _Untracked:
    """Holds an object that `tf.Module` must not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


def tensor_spec(spec: FeatureSpec) -> tf.TensorSpec:
    """Returns the tensor spec of an input or output, batch dimension first."""
    shape = [None] * (1 + len(spec.shape))
    return tf.TensorSpec(shape, tf.dtypes.as_dtype(spec.dtype), spec.name)


def _checked_num_items(recommender: Recommender, dataset: PreparedDataset) -> int:
    num_items = len(dataset.item_vocabulary.tokens)
    if recommender.num_items != num_items:
        raise ValueError(
            "`recommender` must cover the catalogue of `dataset`. Received: "
            f"recommender.num_items={recommender.num_items}, items in "
            f"'{dataset.path}': {num_items}. Export with the dataset of the training."
        )
    return num_items


def _predicted(ranked: RankedCandidates) -> Tensors:
    """What ranking says of each candidate, by output name."""
    if ranked.dwell_seconds is None:
        return ranked.probabilities
    return {**ranked.probabilities, DWELL_SECONDS: ranked.dwell_seconds}


def _context_lookups(
    schema: Schema, dataset: PreparedDataset, asset_dir: Path
) -> dict[str, VocabularyLookup]:
    vocabularies = dataset.attribute_vocabularies
    return {
        a.name: VocabularyLookup(
            vocabularies[a.name], asset_dir / f"{CONTEXT_PREFIX}{a.name}.txt"
        )
        for a in schema.context
        if a.kind != AttributeKind.NUMERIC
    }
