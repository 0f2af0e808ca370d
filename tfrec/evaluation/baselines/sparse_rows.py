"""Row-wise operations on sparse matrices."""

from typing import cast

import numpy as np
from scipy import sparse


def entry_rows(matrix: sparse.csr_array) -> np.ndarray:
    """Returns the row of every stored entry."""
    num_rows = cast(tuple[int, int], matrix.shape)[0]
    return np.repeat(np.arange(num_rows), np.diff(matrix.indptr))


def keep_largest(matrix: sparse.csr_array, num_kept: int) -> sparse.csr_array:
    """Keeps the `num_kept` largest entries of each row; ties by column."""
    rows = entry_rows(matrix)
    order = np.lexsort((matrix.indices, np.negative(matrix.data), rows))
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = order[places < num_kept]
    return sparse.csr_array(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )


def scale_rows(matrix: sparse.csr_array, factors: np.ndarray) -> sparse.csr_array:
    """Multiplies each row by its factor, in place."""
    matrix.data *= factors[entry_rows(matrix)].astype(matrix.data.dtype)
    return matrix


def normalise_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Divides each row by its L2 norm, in place; empty rows stay empty."""
    num_rows = cast(tuple[int, int], matrix.shape)[0]
    squares = np.bincount(
        entry_rows(matrix), weights=matrix.data**2, minlength=num_rows
    )
    return scale_rows(matrix, 1 / np.sqrt(np.where(squares > 0, squares, 1)))


def dense_product(left: sparse.csr_array, right: sparse.csr_array) -> np.ndarray:
    """Returns the matrix product as a dense float32 array."""
    product = cast(sparse.csr_array, left @ right)
    return product.toarray().astype(np.float32, copy=False)
