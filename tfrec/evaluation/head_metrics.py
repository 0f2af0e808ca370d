"""How good the probabilities of a head are: order, sharpness, calibration."""

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

NUM_BINS = 20  # Of equal mass, of the calibration error.


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """Computes the area under the receiver operating characteristic (AUC).

        AUC = P(score of an event > score of a non-event) + P(both are equal) / 2

    Args:
        labels: bool `[num_candidates]`.
        scores: float `[num_candidates]`.

    Returns:
        A number from 0 to 1; NaN without events, or without non-events.

    References:
        - Hanley and McNeil, "The meaning and use of the area under a receiver
          operating characteristic (ROC) curve", Radiology 143, 1982.
    """
    if not labels.any() or labels.all():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def log_losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Computes the log loss: -log of the probability of what happened.

        log loss = - y log p - (1 - y) log(1 - p) = log(1 + exp(logit)) - logit y

    Args:
        labels: bool `[num_candidates]`.
        logits: float `[num_candidates]`.

    Returns:
        float64 `[num_candidates]`.

    References:
        - Good, "Rational Decisions", Journal of the Royal Statistical Society B 14,
          1952 (the logarithm is what makes the true probability the best answer).
    """
    logits = logits.astype(np.float64)
    return np.logaddexp(0.0, logits) - logits * labels


def list_metrics(
    labels: np.ndarray, scores: np.ndarray, lists: np.ndarray, *, num_lists: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Computes metrics of the order within every list.

        GAUC = sum_l n_l AUC_l / sum_l n_l          n_l candidates, both outcomes
        NDCG = sum_e 1 / log2(1 + rank_e) / sum_{r <= P} 1 / log2(1 + r)
        MAP  = sum_e (events up to rank_e) / rank_e / P

    where e are the P events of a list and the whole list is ranked; NDCG and MAP are
    of lists with an event and a second candidate: one alone has no order. Equal scores
    count half in GAUC, and against the model in the others.

    Args:
        labels: bool `[num_candidates]`.
        scores: float `[num_candidates]`.
        lists: int `[num_candidates]`, which list; in any order.
        num_lists: Number of lists.

    Returns:
        Per metric float64 `[num_lists]` values and weights; weight 0 where a list has
        no value.

    References:
        - Zhu et al., "Optimized cost per click in Taobao display advertising",
          KDD 2017 (group AUC).
        - Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
          TOIS 2002 (NDCG; here with gains of 0 and 1).
        - Manning, Raghavan and Schütze, "Introduction to Information Retrieval",
          2008, section 8.4 (MAP).
    """
    size = np.bincount(lists, minlength=num_lists).astype(np.float64)
    happened = np.bincount(lists[labels], minlength=num_lists).astype(np.float64)
    area = _list_areas(labels, scores, lists, happened, size)
    gain, precision = _list_gains(labels, scores, lists, num_lists=num_lists)
    is_ordered = ((happened > 0) & (size > 1)).astype(np.float64)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(len(labels)) + 2))])
    best = ideal[happened.astype(int)]
    return {
        "GAUC": (area, np.where((happened > 0) & (happened < size), size, 0.0)),
        "NDCG": (_ratio(gain, best), is_ordered),
        "MAP": (_ratio(precision, happened), is_ordered),
    }


def _list_areas(
    labels: np.ndarray,
    scores: np.ndarray,
    lists: np.ndarray,
    happened: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """Areas by the rank sum: (sum of ranks of events - P (P + 1) / 2) / (P N)."""
    # Equal scores are equal codes; the list comes first, so ranks need no loop.
    _, code = np.unique(scores, return_inverse=True)
    keys = lists.astype(np.int64) * (code.max(initial=0) + 1) + code
    before = np.concatenate([[0.0], np.cumsum(size)])[:-1]
    ranks = rankdata(keys) - before[lists]
    sums = np.bincount(lists[labels], ranks[labels], minlength=len(size))
    pairs = happened * (size - happened)
    return _ratio(sums - happened * (happened + 1) / 2, pairs)


def _list_gains(
    labels: np.ndarray, scores: np.ndarray, lists: np.ndarray, *, num_lists: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the events of each list: discounted gain, and precision at its rank."""
    order = np.lexsort((labels, -scores, lists))  # Of equal ones, events come last.
    lists, labels = lists[order], labels[order]
    size = np.bincount(lists, minlength=num_lists)
    start = np.concatenate([[0], np.cumsum(size)])[:-1]
    rank = np.arange(len(lists)) - start[lists] + 1
    running = np.concatenate([[0], np.cumsum(labels)])
    events_until = running[1:] - running[start[lists]]
    chosen, rank, events = lists[labels], rank[labels], events_until[labels]
    return (
        np.bincount(chosen, 1 / np.log2(rank + 1), minlength=num_lists),
        np.bincount(chosen, events / rank, minlength=num_lists),
    )


def equal_mass_bins(logits: np.ndarray, *, num_bins: int = NUM_BINS) -> np.ndarray:
    """Returns int64 `[num_candidates]`, bins of as many candidates each, lowest first.

    Equal logits are in one bin.
    """
    if not len(logits):
        return np.zeros(0, np.int64)
    below = rankdata(logits, method="min") - 1
    return (below * num_bins // len(logits)).astype(np.int64)


def bin_sums(
    labels: np.ndarray, logits: np.ndarray, *, num_bins: int = NUM_BINS
) -> np.ndarray:
    """Returns float64 `[3, num_bins]`: candidates, probabilities and events of bins."""
    bins = equal_mass_bins(logits, num_bins=num_bins)
    columns = (np.ones(len(bins)), expit(logits.astype(np.float64)), labels)
    return np.stack([np.bincount(bins, c, minlength=num_bins) for c in columns])


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Computes the expected calibration error.

        ECE = sum_b |mean probability of b - share of events in b| n_b / n

    Args:
        sums: float `[..., 3, num_bins]`, see `bin_sums`.

    Returns:
        float `[...]`; NaN without candidates.

    References:
        - Naeini et al., "Obtaining well calibrated probabilities using Bayesian
          binning", AAAI 2015 (there with bins of equal width; with those nearly all
          candidates of a rare event would be in the first).
    """
    count, predicted, happened = np.moveaxis(sums, -2, 0)
    gaps = np.abs(predicted - happened).sum(axis=-1)
    return _ratio(gaps, count.sum(axis=-1), empty=np.nan)


def calibration_noise(logits: np.ndarray) -> float:
    """Returns the calibration error that chance alone would make: its lowest level.

    A head that is right draws the events of a bin with variance sum p (1 - p), so

        E |mean probability - share of events| = sqrt(2 / pi sum p (1 - p)) / n_b

    by the normal approximation.

    Args:
        logits: float `[num_candidates]`.
    """
    if not len(logits):
        return float("nan")
    probabilities = expit(logits.astype(np.float64))
    variance = np.bincount(equal_mass_bins(logits), probabilities * (1 - probabilities))
    return float(np.sqrt(2 / np.pi * variance).sum() / len(logits))


def _ratio(top: np.ndarray, bottom: np.ndarray, *, empty: float = 0.0) -> np.ndarray:
    full = np.full(np.shape(top), empty, np.float64)
    return np.divide(top, bottom, out=full, where=np.asarray(bottom) > 0)
