"""Where new items may stand in a list, and that ranking leaves them there."""

import numpy as np
import tensorflow as tf

from tfrec.schema import NUM_SPECIAL_INDICES

TEN = 10  # Places that new items get a share of.
_NUM_TENS = 3  # Lists are rarely longer; what is behind has no order to protect.
_STEP = float(np.finfo(np.float32).eps)  # Between new items of one place, relative.
_LEAST = 1e-6  # Taken for a score of 0, so that there is room around it.


class NewItemLimit:
    """Leaves new items the last few of every ten places.

    Of an item that training never saw a text tells little, so it is rarely the best of
    ten for anybody; but somewhere it has to be shown to be met at all. Low in the list
    that costs least: a place at the top is worth three times the tenth in NDCG, and the
    best known items are surer than any new one.

    With n of ten, the r-th best new item (from 0) has at least (10 - n) (r // n + 1)
    known ones ahead of it. Whoever scores too high is put just behind those. Since that
    bounds what they can cost, all new items may be lifted first. Items that the shopper
    has met count neither as known nor as new: they stand where they are, in a list with
    or without them. A search is for what it says: its scores are left as they are. The
    first thirty places are shared out; the new items that come behind them are lowered
    alike.

    Args:
        is_new: bool `[num_items + 2]`, what training never saw.
        per_ten: n, from 1 to 9.

    References:
        - Schein et al., "Methods and metrics for cold-start recommendations", SIGIR
          2002 (the problem). The quota is this project's own.
    """

    def __init__(self, is_new: np.ndarray, *, per_ten: int) -> None:
        new = is_new[NUM_SPECIAL_INDICES:]
        self._num_items = len(new)
        self._columns = np.flatnonzero(new).astype(np.int32)
        self._is_new = tf.constant(new)
        self._place = tf.constant(np.maximum(np.cumsum(new) - 1, 0), tf.int32)
        self._num_known = TEN - per_ten
        self._num_ahead = min(self._num_known * _NUM_TENS, self._num_items)
        self._per_ten = per_ten

    def __call__(
        self,
        scores: tf.Tensor,
        history: tf.Tensor,
        has_search: tf.Tensor | None,
        *,
        lift: tf.Tensor,
    ) -> tf.Tensor:
        """Returns scores of which those of new items may differ.

        Args:
            scores: float32 `[batch_size, num_items]`, finite.
            history: int32 `[batch_size, num_events]`, item index; 0 and 1 are none.
            has_search: bool `[batch_size]`; None where nobody searches.
            lift: float32 scalar, added to the scores of new items before.
        """
        is_met = met_items(history, num_items=self._num_items)
        known = tf.where(self._is_new | is_met, -np.inf, scores)
        ahead = tf.math.top_k(known, self._num_ahead).values
        own = tf.gather(tf.where(is_met, -np.inf, scores), self._columns, axis=1)
        limited = self._below(own + lift, ahead)
        limited = tf.gather(limited, self._place, axis=1)
        is_limited = self._is_new & tf.logical_not(is_met)
        if has_search is not None:
            is_limited &= tf.logical_not(has_search)[:, tf.newaxis]
        return tf.where(is_limited, limited, scores)

    def _below(self, own: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
        """Returns `own`, no score higher than its place allows, in the same order."""
        num_new = len(self._columns)
        count = min(self._per_ten * _NUM_TENS, num_new)
        best, column = tf.math.top_k(own, min(count + 1, num_new))
        rank = np.arange(count)
        # In a catalogue of few, the last of them.
        behind = self._num_known * (rank // self._per_ten + 1)
        behind = np.minimum(behind, self._num_ahead) - 1
        border = _just_below(tf.gather(ahead, behind, axis=1), 1 + rank)
        first = tf.minimum(best[:, :count], border)
        rows = tf.broadcast_to(
            tf.range(tf.shape(own)[0])[:, tf.newaxis], tf.shape(first)
        )
        cells = tf.stack([rows, column[:, :count]], axis=2)
        rest = own
        if num_new > count:  # The best of the rest just behind the last border.
            last = _just_below(ahead[:, -1:], np.array([1 + count]))
            rest = tf.minimum(own - tf.maximum(best[:, count:] - last, 0.0), last)
        return tf.tensor_scatter_nd_update(rest, cells, first)


def met_items(history: tf.Tensor, *, num_items: int) -> tf.Tensor:
    """Returns bool `[batch_size, num_items]` of the items of histories.

    Args:
        history: int32 `[batch_size, num_events]`, item index; 0 and 1 are none.
        num_items: Of the catalogue.
    """
    places = tf.where(history >= NUM_SPECIAL_INDICES)  # [num_met, 2], int64
    column = tf.gather_nd(history, places) - NUM_SPECIAL_INDICES
    cells = tf.stack([places[:, 0], tf.cast(column, tf.int64)], axis=1)
    none = tf.zeros([tf.shape(history)[0], num_items], tf.bool)
    return tf.tensor_scatter_nd_update(none, cells, tf.ones_like(column, tf.bool))


def _just_below(scores: tf.Tensor, steps: np.ndarray) -> tf.Tensor:
    """Returns scores a few roundings lower; inf for -inf, where there is no border."""
    lower = scores - tf.maximum(tf.abs(scores), _LEAST) * _STEP * steps.astype("f")
    return tf.where(tf.math.is_finite(scores), lower, np.inf)


def keep_places(
    scores: tf.Tensor,
    retrieval_scores: tf.Tensor,
    *,
    is_known: tf.Tensor,
    is_new: tf.Tensor,
) -> tf.Tensor:
    """Scores new candidates so that as many known ones are ahead as in retrieval.

    Most of what a ranking model knows is what shoppers did with an item. Of one that
    nobody has met it says that nobody wants it. How much room new items get was decided
    in retrieval; here only the known ones are put in order, around them.

    A new candidate with n known ones ahead of it in retrieval gets a score just above
    that of the (n + 1)-th best known one; those of one n follow in the order of
    retrieval. Behind all known ones it gets half of the least score. Its score so
    belongs to this list alone. Without a known candidate nothing is changed.

    Args:
        scores: float32 `[batch_size, num_candidates]`, finite.
        retrieval_scores: float32, same shape, finite.
        is_known: bool, same shape, items that training saw.
        is_new: bool, same shape, items that it did not; neither is no item.

    Returns:
        float32, same shape; scores of other candidates are unchanged.
    """
    lowest = scores.dtype.min
    best = tf.sort(tf.where(is_known, scores, lowest), direction="DESCENDING")
    best = tf.pad(best, [[0, 0], [0, 1]])  # There may be no candidate.
    num_known = tf.math.count_nonzero(is_known, 1, keepdims=True, dtype=tf.int32)
    last = tf.maximum(num_known - 1, 0)
    # Level with a known one it comes behind: a tie is no reason to be shown.
    num_ahead = _count_from(retrieval_scores, is_known)
    least = tf.gather(best, last, batch_dims=1)
    below_all = least - tf.maximum(tf.abs(least), _LEAST) / 2.0
    behind = tf.gather(best, tf.minimum(num_ahead, last), batch_dims=1)
    behind = tf.where(num_ahead < num_known, behind, below_all)
    num_new = tf.math.count_nonzero(is_new, 1, keepdims=True, dtype=tf.int32)
    steps = 1 + num_new - _count_from(retrieval_scores, is_new)
    steps = tf.cast(steps, scores.dtype)
    moved = behind + tf.maximum(tf.abs(behind), _LEAST) * _STEP * steps
    return tf.where(is_new & (num_known > 0), moved, scores)


def _count_from(values: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Returns int32 `[batch_size, n]`: how many chosen values are as great or more."""
    ascending = tf.sort(tf.where(chosen, values, values.dtype.min))
    return tf.shape(values)[1] - tf.searchsorted(ascending, values, side="left")
