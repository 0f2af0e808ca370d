"""Bootstrap intervals over users, paired between scorers."""

from typing import NamedTuple

import numpy as np

_RESAMPLE_BYTES = 32_000_000  # Of the count matrix that is held at once.


class Interval(NamedTuple):
    """A mean with its percentile interval."""

    mean: float
    low: float
    high: float


def bootstrap_means(values: np.ndarray, *, num_bootstrap: int, seed: int) -> np.ndarray:
    """Computes column means of resampled queries (with replacement).

    Every query is one user, so this is the bootstrap over users. All columns
    share the same draws: the difference of two columns' results is the paired
    bootstrap of their difference.

    Args:
        values: float `[num_queries, num_columns]`; NaN where a column has no
            value for a query, which then does not count in that column.
        num_bootstrap: Number of resamples.
        seed: Of the draws.

    Returns:
        float64 `[num_bootstrap, num_columns]`; NaN where no drawn query has a
        value.

    References:
        - Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13.
        - Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006.
    """
    num_queries, num_columns = values.shape
    generator = np.random.default_rng(seed)
    valid = ~np.isnan(values)
    # Masks repeat between metrics of a group: count each distinct one once.
    masks, mask_of_column = np.unique(valid, axis=1, return_inverse=True)
    table = np.concatenate(
        [np.where(valid, values, 0), masks], axis=1, dtype=np.float32
    )
    chunk = max(1, _RESAMPLE_BYTES // (4 * max(num_queries, 1)))
    sums = []
    for start in range(0, num_bootstrap, chunk):
        size = min(chunk, num_bootstrap - start)
        drawn = generator.integers(num_queries, size=(size, num_queries))
        drawn += np.arange(size)[:, None] * num_queries
        counts = np.bincount(drawn.ravel(), minlength=size * num_queries)
        sums.append(counts.reshape(size, num_queries).astype(np.float32) @ table)
    totals = np.concatenate(sums).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals[:, :num_columns] / totals[:, num_columns:][:, mask_of_column]


def resampled_sums(table: np.ndarray, *, num_bootstrap: int, seed: int) -> np.ndarray:
    """Computes column sums of resampled users (with replacement).

    For metrics that are no mean over users: any function of sums has the bootstrap
    distribution of itself on the result.

    Args:
        table: float `[num_users, num_columns]`, what each user adds.
        num_bootstrap: Number of resamples.
        seed: Of the draws.

    Returns:
        float64 `[num_bootstrap, num_columns]`.
    """
    num_users = len(table)
    generator = np.random.default_rng(seed)
    chunk = max(1, _RESAMPLE_BYTES // (8 * max(num_users, 1)))
    sums = []
    for start in range(0, num_bootstrap, chunk):
        size = min(chunk, num_bootstrap - start)
        drawn = generator.integers(num_users, size=(size, num_users))
        drawn += np.arange(size)[:, None] * num_users
        counts = np.bincount(drawn.ravel(), minlength=size * num_users)
        sums.append(counts.reshape(size, num_users).astype(np.float64) @ table)
    return np.concatenate(sums)


def percentile_intervals(
    means: np.ndarray, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper ends of the central percentile interval.

    Args:
        means: float `[num_bootstrap, num_columns]`, of `bootstrap_means`.
        confidence: Share of the resamples inside, in (0, 1).
    """
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail], axis=0)
    return low, high


def mean_interval(
    values: np.ndarray, *, num_bootstrap: int, seed: int, confidence: float = 0.95
) -> Interval:
    """Returns mean and interval of one value a query; NaN does not count."""
    means = bootstrap_means(values[:, None], num_bootstrap=num_bootstrap, seed=seed)
    low, high = percentile_intervals(means, confidence=confidence)
    return Interval(float(np.nanmean(values)), float(low[0]), float(high[0]))


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    num_bootstrap: int,
    seed: int,
    confidence: float = 0.95,
) -> Interval:
    """Returns mean and interval of `first - second` on the same queries.

    An interval that does not hold 0 says that the scorers differ. Much narrower
    than two separate intervals, since easy queries are easy for both.

    Args:
        first: float `[num_queries]`, a metric of one scorer per query.
        second: float `[num_queries]`, of the other, same queries.
        num_bootstrap: Number of resamples.
        seed: Of the draws.
        confidence: Share of the resamples inside, in (0, 1).

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            "`first` and `second` must be values of the same queries. Received: "
            f"first.shape={first.shape}, second.shape={second.shape}."
        )
    return mean_interval(
        first - second, num_bootstrap=num_bootstrap, seed=seed, confidence=confidence
    )
