"""Which items stand near one another in histories, as counts and as vectors."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX

NEAR_DISTANCE = 10  # Events apart at most.
CONTEXT_POWER = 0.75  # Smooths the counts of neighbours, as word2vec does.


def count_pairs(
    items: np.ndarray,
    users: np.ndarray,
    distance: int,
    size: int,
    *,
    is_second: np.ndarray | None = None,
) -> sp.csr_matrix:
    """Counts pairs of different items that stand `distance` apart.

    Args:
        items: int `[num_events]`, item indices, oldest first within a user.
        users: int `[num_events]`, their users, each in one piece.
        distance: Places between the two.
        size: Rows and columns of the result.
        is_second: bool `[num_events]`, which may be the later of a pair; None: all.

    Returns:
        float64 `[size, size]`; row: the earlier item, column: the later one.
    """
    first, second = items[:-distance], items[distance:]
    real = (users[:-distance] == users[distance:]) & (first != second)
    if is_second is not None:
        real &= is_second[distance:]
    ones = np.ones(int(real.sum()))
    return sp.csr_matrix((ones, (first[real], second[real])), (size, size))


def count_near(items: np.ndarray, users: np.ndarray, size: int) -> sp.csr_matrix:
    """Counts pairs at most `NEAR_DISTANCE` apart, each divided by its distance.

    Returns:
        float64 `[size, size]`, symmetric.
    """
    near = sp.csr_matrix((size, size))
    for distance in range(1, NEAR_DISTANCE + 1):
        near = near + count_pairs(items, users, distance, size) / distance
    return near + near.T


def cooccurrence_vectors(
    sequences: EventSequences, num_items: int, *, dim: int, seed: int
) -> np.ndarray:
    """Gives items vectors that are alike where their training histories are alike.

        pmi(a, b) = max(0, log(n(a, b) / (n(a) q(b))))
        q(b)      = n(b)^0.75 / sum n^0.75
        vector(a) = U[a] sqrt(S) / |U[a] sqrt(S)|,  pmi ~ U S V'

    where n counts pairs of `count_near` in the training split. It takes seconds, and
    spares the training of an embedding table most of its epochs. Items without a
    pair get a random direction.

    Args:
        sequences: The events.
        num_items: Size of the catalogue.
        dim: Width of the vectors.
        seed: Of the decomposition and of the random directions.

    Returns:
        float32 `[num_items + 2, dim]`, L2-normalised.

    References:
        - Levy, Goldberg, "Neural Word Embedding as Implicit Matrix
          Factorization", NeurIPS 2014 (the matrix, and sqrt(S)).
        - Halko et al., "Finding Structure with Randomness", SIAM Review 2011 (the
          decomposition, by scikit-learn).
    """
    chosen = sequences.split == SPLIT_INDEX["train"]
    chosen &= sequences.item_index > OOV_INDEX
    size = num_items + NUM_SPECIAL_INDICES
    items = sequences.item_index[chosen].astype(np.int64)
    near = sp.coo_array(count_near(items, sequences.user_rows[chosen], size))
    vectors = np.random.default_rng(seed).normal(size=(size, dim))
    found = _decompose(_positive_pmi(near, size), dim, seed)
    norm = np.linalg.norm(found, axis=1)
    has_pairs = norm > 1e-6 * max(float(norm.max(initial=0.0)), 1e-30)
    vectors[has_pairs, : found.shape[1]] = found[has_pairs]
    vectors[has_pairs, found.shape[1] :] = 0.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def _positive_pmi(near: sp.coo_array, size: int) -> sp.csr_matrix:
    row, column = near.coords
    count = np.bincount(row, weights=near.data, minlength=size)
    context = count**CONTEXT_POWER
    context /= max(float(context.sum()), 1e-30)
    pmi = np.log(near.data / (count[row] * context[column]))
    kept = pmi > 0.0
    return sp.csr_matrix((pmi[kept], (row[kept], column[kept])), (size, size))


def _decompose(matrix: sp.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """Returns `[size, at most dim]`: left singular vectors times sqrt(values)."""
    # Slow to import, and wanted in training only.
    from sklearn.utils.extmath import randomized_svd

    size = int(matrix.shape[0])  # pyright: ignore[reportOptionalSubscript]
    if not matrix.nnz:
        return np.zeros((size, 1))
    decompose: Any = randomized_svd  # Its types say that `n_iter` is a string.
    left, values, _ = decompose(matrix, min(dim, size), n_iter=4, random_state=seed)
    return left * np.sqrt(values)
