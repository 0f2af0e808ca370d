"""Caps, promised items and diversity as requests ask for them, inside the graph."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from export.masks import MISSING_SCORE
from tfrec.data.store import PreparedDataset
from tfrec.features.lookup import VocabularyLookup
from tfrec.models.list_rules import ListRules, choose_by_rules
from tfrec.schema import (
    CAP_PREFIX,
    DIVERSITY,
    MUST_INCLUDE_ITEM_IDS,
    NUM_SPECIAL_INDICES,
    K,
    RequestRule,
    Schema,
)

_NO_VECTOR = 0  # Width of the vectors where nobody asks for diversity.


class RequestListRules(tf.Module):
    """Chooses the places of a list by the rules of its request.

    Where no row of the batch has a rule, the list is the candidates by score, and
    nothing else is computed.

    Args:
        dataset: Gives the values that caps count: those of the catalogue, of a
            path all of it.
        schema: Says which rules there are.
        items: Looks up item ids.
    """

    def __init__(
        self, dataset: PreparedDataset, schema: Schema, *, items: VocabularyLookup
    ) -> None:
        super().__init__()
        self._items = items
        self._has_rules = bool(schema.list_features)
        self._promises = RequestRule.MUST_INCLUDE in schema.rules
        self._diversifies = RequestRule.DIVERSITY in schema.rules
        self._caps = schema.caps
        self._cap_values = None
        if self._caps:
            columns = [_value_numbers(dataset, name) for name in self._caps]
            values = tf.constant(np.stack(columns, axis=1))
            self._cap_values = tf.Variable(values, trainable=False, name="cap_values")

    def add_promised(
        self,
        raw: Mapping[str, tf.Tensor],
        index: tf.Tensor,
        scores: tf.Tensor,
        *,
        allowed_scores: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Puts promised items behind the candidates, if they are not among them.

        An item that the request excludes or filters out is not promised.

        Args:
            raw: Inputs of the signature by name.
            index: int32 `[batch_size, num_candidates]`, retrieved items; 0 is none.
            scores: float32, same shape, their retrieval scores.
            allowed_scores: float32 `[batch_size, num_items]`, of the catalogue.

        Returns:
            Index and scores `[batch_size, num_candidates + num_added]`.
        """
        if not self._promises:
            return index, scores
        listed = raw[MUST_INCLUDE_ITEM_IDS]

        def longer() -> tuple[tf.Tensor, tf.Tensor]:
            promised = self._items.lookup(listed)
            return _with_promised(index, scores, promised, allowed_scores)

        return tf.cond(
            tf.reduce_any(tf.not_equal(listed, "")), longer, lambda: (index, scores)
        )

    def choose(
        self,
        raw: Mapping[str, tf.Tensor],
        index: tf.Tensor,
        scores: tf.Tensor,
        *,
        num_columns: tf.Tensor,
        embeddings: tf.Variable,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Chooses the candidate of each place.

        Args:
            raw: Inputs of the signature by name.
            index: int32 `[batch_size, num_candidates]`, item indices; 0 is none.
            scores: float32, same shape, the final scores; -inf is no candidate.
            num_columns: int32 scalar, places of the longest list.
            embeddings: float32 `[num_items, embedding_dim]`, L2-normalised.

        Returns:
            int32 and bool `[batch_size, num_columns]`: the candidate, and True
            where the place has one.
        """

        def plain() -> tuple[tf.Tensor, tf.Tensor]:
            best, order = tf.math.top_k(scores, num_columns)
            return order, best > MISSING_SCORE

        if not self._has_rules:
            return plain()

        def by_rules() -> tuple[tf.Tensor, tf.Tensor]:
            rules = self._rules(raw, index, embeddings)
            return choose_by_rules(scores, num_columns, rules)

        return tf.cond(self._is_asked(raw), by_rules, plain)

    def _is_asked(self, raw: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns a bool scalar: whether any row has a rule."""
        asked = [tf.reduce_any(raw[CAP_PREFIX + name] > 0) for name in self._caps]
        if self._promises:
            asked.append(tf.reduce_any(tf.not_equal(raw[MUST_INCLUDE_ITEM_IDS], "")))
        if self._diversifies:
            asked.append(tf.reduce_any(raw[DIVERSITY] > 0.0))
        return tf.reduce_any(tf.stack(asked))

    def _rules(
        self,
        raw: Mapping[str, tf.Tensor],
        index: tf.Tensor,
        embeddings: tf.Variable,
    ) -> ListRules:
        shape = tf.shape(index)
        promised = tf.zeros_like(index, tf.bool)
        if self._promises:
            listed = self._items.lookup(raw[MUST_INCLUDE_ITEM_IDS])
            promised = (index > 0) & _is_among(index, listed)
        cap_values = tf.zeros([*tf.unstack(shape), 0], tf.int32)
        caps = tf.zeros([shape[0], 0], tf.int32)
        if self._cap_values is not None:
            cap_values = tf.gather(self._cap_values, index)
            caps = tf.stack([raw[CAP_PREFIX + name] for name in self._caps], axis=1)
        diversity = tf.zeros([shape[0]], tf.float32)
        vectors = tf.zeros([*tf.unstack(shape), _NO_VECTOR], tf.float32)
        if self._diversifies:
            diversity = raw[DIVERSITY]
            vectors = tf.cond(
                tf.reduce_any(diversity > 0.0),
                lambda: tf.gather(
                    embeddings, tf.maximum(index - NUM_SPECIAL_INDICES, 0)
                ),
                lambda: tf.zeros([*tf.unstack(shape), _NO_VECTOR], tf.float32),
            )
        return ListRules(raw[K], promised, cap_values, caps, diversity, vectors)


def _with_promised(
    index: tf.Tensor,
    scores: tf.Tensor,
    promised: tf.Tensor,
    allowed_scores: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns index and scores with columns for promised items that they lack."""
    column = tf.maximum(promised - NUM_SPECIAL_INDICES, 0)
    found = tf.gather(allowed_scores, column, batch_dims=1)
    is_new = (promised >= NUM_SPECIAL_INDICES) & (found > MISSING_SCORE)
    is_new &= tf.logical_not(_is_among(promised, index))
    is_new &= tf.logical_not(_is_repeated(promised))
    # To the left, so that no more columns are ranked than a row needs.
    place = tf.argsort(tf.cast(is_new, tf.int32), 1, "DESCENDING", stable=True)
    counts = tf.reduce_sum(tf.cast(is_new, tf.int32), axis=1)
    place = place[:, : tf.maximum(tf.reduce_max(counts), 0)]

    def added(values: tf.Tensor, padding: float) -> tf.Tensor:
        kept = tf.where(is_new, values, tf.cast(padding, values.dtype))
        return tf.gather(kept, place, batch_dims=1)

    return (
        tf.concat([index, added(promised, 0)], axis=1),
        tf.concat([scores, added(found, MISSING_SCORE)], axis=1),
    )


def _value_numbers(dataset: PreparedDataset, name: str) -> np.ndarray:
    """Returns int32 `[num_items + 2]`, equal for equal values; 0 is none."""
    values = dataset.items[name].to_pylist()
    number = {value: i + 1 for i, value in enumerate(sorted({v for v in values if v}))}
    special = [0] * NUM_SPECIAL_INDICES
    return np.array([*special, *(number.get(v, 0) for v in values)], np.int32)


def _is_among(index: tf.Tensor, listed: tf.Tensor) -> tf.Tensor:
    """Returns bool of the shape of `index`: whether its row of `listed` has it."""
    return tf.reduce_any(index[:, :, tf.newaxis] == listed[:, tf.newaxis], axis=2)


def _is_repeated(index: tf.Tensor) -> tf.Tensor:
    """Returns bool of the shape of `index`: True for what stands further left, too."""
    width = tf.shape(index)[1]
    same = index[:, :, tf.newaxis] == index[:, tf.newaxis]
    is_left = tf.range(width)[tf.newaxis] < tf.range(width)[:, tf.newaxis]
    return tf.reduce_any(same & is_left, axis=2)
