"""What new items borrow from known ones whose texts are alike."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.schema import NUM_SPECIAL_INDICES

NUM_NEIGHBOURS = 20
_SPREAD = 0.1  # Of likeness: a neighbour less alike by this weighs 1/e.
_MAX_KNOWN = 50_000  # The most met; bounds the time on large catalogues.
_CHUNK = 256  # New items at once; bounds memory.


class TextNeighbours(NamedTuple):
    """New items, and the known ones that stand for them.

    Attributes:
        new: int32 `[num_new]`, item indices.
        near: int32 `[num_new, num_neighbours]`, item indices of known items.
        weights: float32 `[num_new, num_neighbours]`, rows sum to 1.
    """

    new: np.ndarray
    near: np.ndarray
    weights: np.ndarray

    def lend(self, values: tf.Tensor, lent: tf.Tensor) -> tf.Tensor:
        """Adds to the rows of new items the weighted mean of their neighbours' `lent`.

        Args:
            values: float `[num_items + 2, dim]`, by item index.
            lent: float, same shape.

        Returns:
            float, same shape and dtype as `values`.
        """
        num_new, number = self.near.shape
        rows = np.repeat(np.arange(num_new), number)
        cells = np.stack([rows, self.near.ravel()], axis=1).astype(np.int64)
        # A product with few cells: gathered, the neighbours would fill the memory.
        shape = tf.cast(tf.stack([num_new, tf.shape(values)[0]]), tf.int64)
        weights = tf.SparseTensor(cells, self.weights.ravel(), shape)
        mean = tf.sparse.sparse_dense_matmul(
            tf.sparse.reorder(weights), tf.cast(lent, tf.float32)
        )
        return tf.tensor_scatter_nd_add(
            values, self.new[:, np.newaxis], tf.cast(mean, values.dtype)
        )


def find_text_neighbours(
    texts: np.ndarray, train_count: np.ndarray, *, is_new: np.ndarray
) -> TextNeighbours | None:
    """Finds for each new item the known ones with the likest texts.

        weight(i, n) ~ exp((cos(text(i), text(n)) - 1) / 0.1)

    over the `NUM_NEIGHBOURS` nearest. The embedding of an item that training never saw
    is only what its text is *projected* to; that of a known one has learned what else
    its shoppers look at. Whose text is nearly the same belongs nearly there.

    Args:
        texts: float32 `[num_items + 2, dim]`, by item index; rows of zeros say nothing.
        train_count: int64 `[num_items + 2]`, training events.
        is_new: bool `[num_items + 2]`.

    Returns:
        None where no new item has a text, or no known one.

    References:
        - Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start
          Recommendations", ICDM 2010 (among them k nearest neighbours).
    """
    says = np.any(texts != 0.0, axis=1)
    says[:NUM_SPECIAL_INDICES] = False
    new, known = np.flatnonzero(says & is_new), np.flatnonzero(says & ~is_new)
    if not len(new) or not len(known):
        return None
    if len(known) > _MAX_KNOWN:
        most_met = np.argsort(-train_count[known], kind="stable")[:_MAX_KNOWN]
        known = known[np.sort(most_met)]
    unit = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-9)
    columns = np.ascontiguousarray(unit[known].T)
    number = min(NUM_NEIGHBOURS, len(known))
    near, weights = [], []
    for start in range(0, len(new), _CHUNK):
        likeness = unit[new[start : start + _CHUNK]] @ columns
        nearest, best = map(np.asarray, tf.math.top_k(likeness, number, sorted=False))
        weight = np.exp((nearest - 1.0) / _SPREAD)
        near.append(known[best])
        weights.append(weight / weight.sum(axis=1, keepdims=True))
    return TextNeighbours(
        new.astype(np.int32),
        np.concatenate(near).astype(np.int32),
        np.concatenate(weights).astype(np.float32),
    )
