import numpy as np
import pytest

from tfrec.evaluation.dwell_report import dwell_report, dwell_table

RNG = np.random.default_rng(0)
LOG_DWELL = RNG.normal(3.0, 1.0, 400)
USERS = np.repeat(np.arange(100), 4)


def report(predicted: np.ndarray, log_dwell: np.ndarray = LOG_DWELL) -> dict:
    return dwell_report(
        log_dwell, predicted, USERS, constant=3.0, num_bootstrap=200, seed=0
    )


def test_who_knows_explains_all_and_who_says_the_mean_nothing():
    known = report(LOG_DWELL)
    assert known["metrics"]["MSE"] == 0.0
    assert known["metrics"]["explained"] == 1.0
    mean = report(np.full(400, 3.0))
    assert mean["metrics"]["explained"] == 0.0
    worse = report(-LOG_DWELL)
    assert worse["metrics"]["explained"] < 0.0


def test_errors_are_means_over_candidates_with_intervals_over_users():
    predicted = LOG_DWELL + RNG.normal(0.0, 0.5, 400)
    found = report(predicted)
    assert found["num_candidates"] == 400
    error = np.square(LOG_DWELL - predicted).mean()
    of_mean = np.square(LOG_DWELL - 3.0).mean()
    assert found["metrics"]["MSE"] == pytest.approx(error)
    assert found["metrics"]["MSE_constant"] == pytest.approx(of_mean)
    assert found["metrics"]["explained"] == pytest.approx(1 - error / of_mean)
    for name, (low, high) in found["intervals"].items():
        assert low < found["metrics"][name] < high


def test_dwells_that_are_all_alike_leave_nothing_to_explain():
    found = report(np.full(400, 2.0), np.full(400, 3.0))
    assert found["metrics"] == {"MSE": 1.0, "MSE_constant": 0.0}
    table = dwell_table({"retrieved": found})
    assert table.rows == [
        ["retrieved", "400", "1.0000 [1.0000, 1.0000]", "0.0000 [0.0000, 0.0000]", "–"]
    ]
