"""A trained recommender on a catalogue that has changed since."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.models.final_order import FinalOrder
from tfrec.models.interest_scores import catalogue_scores
from tfrec.models.ranking_model import RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_batch import EncodedQueries
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.models.trainable_model import TrainableModel
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX
from tfrec.text.reader import TextReader


class LaterModels(NamedTuple):
    """Models built for the changed catalogue, their weights not yet set.

    Attributes:
        retrieval: The retrieval model.
        ranking: The ranking model; None where there is none.
        text_reader: With the texts of the changed catalogue; None without text.
        final_order: With the numbers of the changed catalogue; None where the
            ranking model's own scores are the order.
    """

    retrieval: RetrievalModel
    ranking: RankingModel | None
    text_reader: TextReader | None
    final_order: FinalOrder | None = None


class RefreshedRecommender(TrainedRecommender):
    """Answers for a changed catalogue without new training.

    New items have no id vector of their own: what known items of like texts have
    learned stands in for it (`find_text_neighbours`), without texts their attributes.
    In ranking they have the demand of what nobody bought, and followed nothing.
    Changed items keep what training learned of their id. All others keep their vectors
    bit by bit.

    Retrieval scores of unchanged items stay the same, too:

        score(i) = s(i) - logsumexp over the items j of the training of s'(j)

    where s are logits and s' those of the items *as they were trained*; transitions
    are mixed in after that, and know no new item. A new item so has the log of its
    weight relative to the trained catalogue, or less, where it would take too many
    places (`NewItemLimit`); `exp` of a row sums to 1 over that one. (Over today's
    catalogue, every new item would lower the scores of all, and so move the input of
    the ranking model.)

    Args:
        trained: The recommender as it was trained.
        models: Built for the changed catalogue; get the weights of `trained`.
        differs: bool `[num_items]`, items that are new or were changed; those of
            the training come first.
    """

    def __init__(
        self, trained: TrainedRecommender, models: LaterModels, differs: np.ndarray
    ) -> None:
        num_trained = trained.num_items
        copy_weights(
            trained.retrieval,
            models.retrieval,
            left_out=trained.retrieval.text_variables,
        )
        if models.ranking is not None and trained.ranking is not None:
            copy_weights(trained.ranking, models.ranking)
        super().__init__(
            models.retrieval,
            models.ranking,
            num_candidates=trained.num_candidates,
            text_reader=models.text_reader,
            final_order=models.final_order,
        )
        # The same sums over more rows may differ in the last bit: kept as they were.
        rows = np.append(np.ones(NUM_SPECIAL_INDICES, bool), ~differs)
        for mine, theirs, kept in (
            (self._item_vectors, trained._item_vectors, rows),
            (self._candidates, trained._candidates, ~differs),
            (self._bias, trained._bias, ~differs),
            (self._texts, trained._texts, rows),
            (self._match_texts, trained._match_texts, rows),
        ):
            if mine is not None and theirs is not None:
                mine.assign(_keep(theirs, mine, kept))
        if models.ranking is not None and trained.ranking is not None:
            vectors = tf.cast(self._item_vectors, models.ranking.items.dtype)
            models.ranking.items.assign(_keep(trained.ranking.items, vectors, rows))
        self.num_trained = num_trained
        replaced = np.flatnonzero(differs[:num_trained])
        self._has_replaced = len(replaced) > 0
        self._mask = tf.constant(
            np.where(differs[:num_trained], -np.inf, 0.0), tf.float32
        )
        self._replaced = tf.gather(tf.constant(trained._candidates), replaced)
        self._replaced_bias = tf.gather(trained._bias, replaced)

    def refresh(self) -> None:
        """Is not possible: trained weights and later catalogue belong together."""
        raise ValueError(
            "A refreshed recommender is not trained on. Train the run again and "
            "refresh its catalogue anew."
        )

    def scores_of(self, encoded: EncodedQueries) -> tf.Tensor:
        """Returns float32 `[batch_size, num_items]` of today's items, see the class."""
        logits = self.retrieval.logits(encoded, self._candidates, self._bias)
        trained = logits[:, : self.num_trained]
        if self._has_replaced:
            queries = self.retrieval.query_keys(encoded)
            before = catalogue_scores(queries, self._replaced)
            before += self._replaced_bias
            trained = tf.concat([trained + self._mask, before], axis=1)
        scores = logits - tf.reduce_logsumexp(trained, axis=1, keepdims=True)
        if encoded.transitions is not None:
            scores = encoded.transitions.mixed_with(scores)
        return self._with_new_items_limited(scores, encoded)


def copy_weights(
    trained: TrainableModel,
    later: TrainableModel,
    *,
    left_out: Sequence[tf.Variable] = (),
) -> None:
    """Copies weights into a model of a larger catalogue.

    Tables by item get the row of the unknown item, once for each later item: they
    look like items of the training that nobody ever met.

    Args:
        trained: Whose weights to copy.
        later: The model for the larger catalogue.
        left_out: Weights of `trained` that `later` does not have.

    Raises:
        ValueError: If the models are not of one kind.
    """
    apart = {variable.ref() for variable in left_out}
    weights = [weight for weight in trained.weights if weight.ref() not in apart]
    for old, new in zip(weights, later.weights, strict=True):
        missing = _num_rows(new) - _num_rows(old)
        if missing < 0 or old.shape[1:] != new.shape[1:] or old.dtype != new.dtype:
            raise ValueError(
                "`later` must be the model of `trained` for a larger catalogue. "
                f"Received: the weight '{new.name}' of {new.shape}, {new.dtype.name} "
                f"for '{old.name}' of {old.shape}, {old.dtype.name}."
            )
        values = old.read_value()
        if missing:
            values = tf.concat([values, tf.repeat(_unknown(values), missing, 0)], 0)
        new.assign(values)


def _unknown(table: tf.Tensor) -> tf.Tensor:
    return table[OOV_INDEX : OOV_INDEX + 1]


def _num_rows(values: tf.Tensor) -> int:
    return (values.shape.as_list() or [0])[0] or 0


def _keep(old: tf.Tensor, new: tf.Tensor, kept: np.ndarray) -> tf.Tensor:
    """Returns `old` in the rows to be kept, else `new`, which may have more rows."""
    old, new = tf.convert_to_tensor(old), tf.convert_to_tensor(new)
    return tf.tensor_scatter_nd_update(
        new, np.flatnonzero(kept)[:, np.newaxis], tf.boolean_mask(old, kept[: len(old)])
    )
