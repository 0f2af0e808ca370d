"""Ranking metrics as pure functions of the ranks of the positives.

All take the ranks of the positives of many queries and return one value a
query, NaN for a query without positives; the reported number is their mean.
"""

from collections.abc import Callable

import numpy as np


def hit_rate(
    ranks: np.ndarray, query_of_positive: np.ndarray, *, k: int, num_queries: int
) -> np.ndarray:
    """Computes HR@k: 1 if any positive is among the first k places.

        HR@k = [min rank <= k]

    Args:
        ranks: int `[num_positives]`, 1-based.
        query_of_positive: int `[num_positives]`, in `[0, num_queries)`.
        k: List length, at least 1.
        num_queries: Number of values returned.

    Returns:
        float64 `[num_queries]`.

    References:
        - Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms",
          TOIS 2004.

    Example:
        >>> hit_rate(np.array([3, 11]), np.array([0, 1]), k=10, num_queries=2)
        array([1., 0.])
    """
    hits = np.bincount(query_of_positive[ranks <= k], minlength=num_queries)
    return _keep_answerable((hits > 0).astype(np.float64), query_of_positive)


def recall(
    ranks: np.ndarray, query_of_positive: np.ndarray, *, k: int, num_queries: int
) -> np.ndarray:
    """Computes Recall@k: the share of the positives among the first k places.

        Recall@k = #(positives with rank <= k) / #positives

    With more than k positives it cannot reach 1. Arguments and result as for
    `hit_rate`.

    References:
        - Manning, Raghavan and Schütze, "Introduction to Information Retrieval",
          2008, section 8.3.

    Example:
        >>> recall(np.array([3, 11]), np.array([0, 0]), k=10, num_queries=1)
        array([0.5])
    """
    hits = np.bincount(query_of_positive[ranks <= k], minlength=num_queries)
    totals = np.bincount(query_of_positive, minlength=num_queries)
    return _keep_answerable(hits / np.maximum(totals, 1), query_of_positive)


def ndcg(
    ranks: np.ndarray, query_of_positive: np.ndarray, *, k: int, num_queries: int
) -> np.ndarray:
    """Computes NDCG@k with binary relevance.

        DCG@k  = sum over positives with rank <= k of 1 / log2(rank + 1)
        NDCG@k = DCG@k / sum over r = 1 … min(k, #positives) of 1 / log2(r + 1)

    Arguments and result as for `hit_rate`.

    References:
        - Järvelin and Kekäläinen, "Cumulated Gain-Based Evaluation of IR
          Techniques", TOIS 2002.

    Example:
        >>> ndcg(np.array([3]), np.array([0]), k=10, num_queries=1)
        array([0.5])
    """
    hit = ranks <= k
    gains = np.bincount(
        query_of_positive[hit],
        weights=1 / np.log2(ranks[hit] + 1.0),
        minlength=num_queries,
    )
    ideal = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    totals = np.bincount(query_of_positive, minlength=num_queries)
    best = np.where(totals > 0, ideal[np.minimum(totals, k)], 1.0)
    return _keep_answerable(gains / best, query_of_positive)


def mrr(
    ranks: np.ndarray, query_of_positive: np.ndarray, *, k: int, num_queries: int
) -> np.ndarray:
    """Computes MRR@k: the reciprocal rank of the first positive, 0 beyond k.

        RR@k = 1 / min rank if min rank <= k else 0

    Arguments and result as for `hit_rate`.

    References:
        - Voorhees, "The TREC-8 Question Answering Track Report", 1999.

    Example:
        >>> mrr(np.array([4, 2]), np.array([0, 0]), k=10, num_queries=1)
        array([0.5])
    """
    reciprocal = np.zeros(num_queries)
    hit = ranks <= k
    np.maximum.at(reciprocal, query_of_positive[hit], 1.0 / ranks[hit])
    return _keep_answerable(reciprocal, query_of_positive)


METRICS: dict[str, Callable[..., np.ndarray]] = {
    "HR": hit_rate,
    "Recall": recall,
    "NDCG": ndcg,
    "MRR": mrr,
}


def metric_names(ks: tuple[int, ...]) -> tuple[str, ...]:
    """Returns the names of all metrics at all k, such as `NDCG@10`."""
    return tuple(f"{name}@{k}" for name in METRICS for k in ks)


def query_metrics(
    ranks: np.ndarray,
    query_of_positive: np.ndarray,
    *,
    ks: tuple[int, ...],
    num_queries: int,
) -> np.ndarray:
    """Computes all metrics at all k; arguments as for `hit_rate`.

    Returns:
        float64 `[num_queries, len(metric_names(ks))]`, columns as the names.
    """
    columns = [
        metric(ranks, query_of_positive, k=k, num_queries=num_queries)
        for metric in METRICS.values()
        for k in ks
    ]
    return np.stack(columns, axis=1)


def parse_metric(metric: str) -> tuple[str, int]:
    """Splits a name such as `NDCG@10`.

    Raises:
        ValueError: If the metric is unknown or its k is not a positive number.

    Example:
        >>> parse_metric("NDCG@10")
        ('NDCG', 10)
    """
    name, _, k = metric.partition("@")
    if name not in METRICS or not k.isdigit() or int(k) < 1:
        raise ValueError(
            f"A metric must be one of {list(METRICS)} and a list length, such as "
            f"'NDCG@10'. Received: metric={metric!r}."
        )
    return name, int(k)


def _keep_answerable(values: np.ndarray, query_of_positive: np.ndarray) -> np.ndarray:
    """Sets queries without positives to NaN."""
    totals = np.bincount(query_of_positive, minlength=len(values))
    values[totals == 0] = np.nan
    return values
