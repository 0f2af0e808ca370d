import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import average_precision_score, log_loss, ndcg_score

from tfrec.evaluation.head_metrics import (
    area_under_curve,
    bin_sums,
    calibration_error,
    calibration_noise,
    equal_mass_bins,
    list_metrics,
    log_losses,
)


def made(num_lists: int = 40, *, levels: int = 5) -> tuple[np.ndarray, ...]:
    """Lists of different lengths, their candidates shuffled; many scores are equal."""
    random = np.random.default_rng(0)
    lists = np.repeat(np.arange(num_lists), random.integers(1, 9, num_lists))
    lists = random.permutation(lists)
    scores = random.integers(0, levels, len(lists)).astype(np.float32)
    labels = random.random(len(lists)) < 0.1 + 0.15 * scores
    return labels, scores, lists


def pairs_won(labels: np.ndarray, scores: np.ndarray) -> float:
    won = [
        1.0 if event > other else 0.5 if event == other else 0.0
        for event in scores[labels]
        for other in scores[~labels]
    ]
    return float(np.mean(won))


def test_area_is_the_share_of_pairs_in_order():
    labels, scores, _ = made()
    found = area_under_curve(labels, scores)
    assert found == pytest.approx(pairs_won(labels, scores))
    assert np.isnan(area_under_curve(np.ones(3, bool), np.arange(3)))


def test_group_area_is_that_of_every_list_by_its_size():
    labels, scores, lists = made()
    values, weights = list_metrics(labels, scores, lists, num_lists=41)["GAUC"]
    used = 0
    for number in range(41):  # The last list is empty.
        chosen = lists == number
        both = labels[chosen].any() and not labels[chosen].all()
        assert weights[number] == (chosen.sum() if both else 0)
        if both:
            used += 1
            expected = pairs_won(labels[chosen], scores[chosen])
            assert values[number] == pytest.approx(expected)
    assert used > 10


def test_order_within_lists_is_that_of_sklearn_where_nothing_ties():
    labels, _, lists = made()
    scores = np.random.default_rng(1).permutation(len(lists)) + labels * 20.5
    found = list_metrics(labels, scores, lists, num_lists=40)
    for number in range(40):
        chosen = lists == number
        is_ordered = labels[chosen].any() and chosen.sum() > 1
        assert found["NDCG"][1][number] == found["MAP"][1][number] == is_ordered
        if is_ordered:
            truth, said = labels[chosen], scores[chosen]
            assert found["NDCG"][0][number] == pytest.approx(
                ndcg_score([truth.astype(int)], [said])
            )
            assert found["MAP"][0][number] == pytest.approx(
                average_precision_score(truth, said)
            )


def test_a_list_of_one_candidate_has_no_order():
    labels, scores = np.array([True, True, False]), np.array([0.3, 0.1, 0.2])
    found = list_metrics(labels, scores, np.array([0, 1, 1]), num_lists=2)
    for name, value in (("GAUC", 0.0), ("NDCG", 1 / np.log2(3)), ("MAP", 0.5)):
        values, weights = found[name]
        assert weights[0] == 0.0 < weights[1]
        assert values[1] == pytest.approx(value)


def test_equal_scores_count_against_the_model():
    labels = np.array([True, False, False, True])
    found = list_metrics(labels, np.zeros(4), np.zeros(4, int), num_lists=1)
    # Events at ranks 3 and 4 of 4.
    assert found["MAP"][0][0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    best = 1 + 1 / np.log2(3)
    assert found["NDCG"][0][0] == pytest.approx(
        (1 / np.log2(4) + 1 / np.log2(5)) / best
    )
    assert found["GAUC"][0][0] == 0.5


def test_log_loss_is_that_of_sklearn_and_finite_at_the_ends():
    random = np.random.default_rng(0)
    probabilities = random.uniform(0.01, 0.99, 200)
    labels = random.random(200) < probabilities
    found = log_losses(labels, logit(probabilities))
    assert found.mean() == pytest.approx(log_loss(labels, probabilities))
    ends = log_losses(np.array([True, False]), np.array([-800.0, 800.0]))
    np.testing.assert_allclose(ends, 800.0)


def test_calibration_error_by_hand():
    # Two bins of four: said .1 each, one of four happened; said .5, three of four did.
    probabilities = np.array([0.1] * 4 + [0.5] * 4)
    labels = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    sums = bin_sums(labels, logit(probabilities), num_bins=2)
    np.testing.assert_allclose(sums, [[4, 4], [0.4, 2.0], [1, 3]])
    expected = (abs(0.1 - 0.25) + abs(0.5 - 0.75)) / 2
    assert calibration_error(sums) == pytest.approx(expected)
    assert np.isnan(calibration_error(np.zeros((3, 2))))


def test_errors_of_different_sign_in_different_bins_do_not_cancel():
    probabilities = np.array([0.25] * 4 + [0.75] * 4)
    labels = np.array([1, 1, 0, 0, 1, 1, 0, 0], bool)  # Half of either.
    sums = bin_sums(labels, logit(probabilities), num_bins=2)
    assert sums[1].sum() == sums[2].sum()
    assert calibration_error(sums) == pytest.approx(0.25)


def test_bins_have_equal_mass_and_equal_logits_stay_together():
    logits = np.random.default_rng(0).permutation(np.arange(100.0))
    bins = equal_mass_bins(logits, num_bins=20)
    assert np.bincount(bins).tolist() == [5] * 20
    assert (np.diff(bins[np.argsort(logits)]) >= 0).all()
    assert len(set(equal_mass_bins(np.zeros(50), num_bins=20))) == 1


def test_noise_is_the_mean_error_of_a_head_that_is_right():
    random = np.random.default_rng(0)
    probabilities = random.beta(1, 10, 4_000)
    logits = logit(probabilities)
    errors = [
        calibration_error(bin_sums(random.random(4_000) < probabilities, logits))
        for _ in range(300)
    ]
    assert calibration_noise(logits) == pytest.approx(np.mean(errors), rel=0.05)
