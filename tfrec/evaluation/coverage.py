"""Which items reach any of the recommended lists."""

import numpy as np

from tfrec.evaluation.ranks import places_within_rows

_GROUP_SIZE = 16  # Columns whose maximum bounds the k-th best score.
_CROWD = 8  # More candidates than this many times k are cut first.


def coverage_names(ks: tuple[int, ...]) -> tuple[str, ...]:
    """Returns the names, such as `coverage@10`: share of items in any top k."""
    return tuple(f"coverage@{k}" for k in ks)


def mark_recommended(
    scores: np.ndarray, ks: tuple[int, ...], recommended: np.ndarray
) -> None:
    """Marks in place which items reach the top k of any row.

    Args:
        scores: float32 `[batch_size, num_items]`; -inf is never recommended.
        ks: List lengths.
        recommended: bool `[len(ks), num_items]`.
    """
    top = top_columns(scores, min(max(ks), scores.shape[1]))
    shown = np.take_along_axis(scores, top, axis=1) > -np.inf
    for i, k in enumerate(ks):
        recommended[i, top[:, :k][shown[:, :k]]] = True


def top_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """Finds the columns of the k best scores of each row.

    A lower bound of the k-th best score, from the maxima of groups of columns,
    leaves few candidates to sort: several times as fast as `np.argpartition`.

    Args:
        scores: float32 `[batch_size, num_items]`.
        k: At most `num_items`.

    Returns:
        int64 `[batch_size, k]`, best first; ties in column order.
    """
    num_rows, num_items = scores.shape
    bound = _kth_score_bound(scores, k)
    chosen = scores >= bound[:, None]
    crowded = np.count_nonzero(chosen, axis=1) > _CROWD * k
    if crowded.any():
        chosen[crowded] = _choose_top(scores[crowded], k)
    cells = np.flatnonzero(chosen)
    rows, columns = np.divmod(cells, num_items)
    order = np.lexsort((columns, -scores.ravel()[cells], rows))
    places = places_within_rows(rows)
    return columns[order[places < k]].reshape(num_rows, k)


def _kth_score_bound(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns float32 `[batch_size]`, not above the k-th best score of the row."""
    num_rows, num_items = scores.shape
    num_groups = num_items // _GROUP_SIZE
    if num_groups < k:
        return np.partition(scores, num_items - k, axis=1)[:, num_items - k]
    grouped = scores[:, : num_groups * _GROUP_SIZE]
    # k groups reach the k-th best maximum, so at least k scores do.
    maxima = grouped.reshape(num_rows, _GROUP_SIZE, num_groups).max(axis=1)
    return np.partition(maxima, num_groups - k, axis=1)[:, num_groups - k]


def _choose_top(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns bool like `scores` with k True a row; ties in column order."""
    num_items = scores.shape[1]
    threshold = np.partition(scores, num_items - k, axis=1)[:, num_items - k, None]
    greater = scores > threshold
    equal = scores == threshold
    missing = k - np.count_nonzero(greater, axis=1)
    return greater | (equal & (np.cumsum(equal, axis=1) <= missing[:, None]))
