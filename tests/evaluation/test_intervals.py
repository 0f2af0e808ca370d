import numpy as np
import pytest

from tfrec.evaluation.intervals import (
    bootstrap_means,
    mean_interval,
    paired_difference,
)


def test_interval_of_a_share_is_close_to_the_normal_one() -> None:
    values = np.repeat([1.0, 0.0], [300, 700])
    found = mean_interval(values, num_bootstrap=4000, seed=0)
    # 1.96 · sqrt(0.3 · 0.7 / 1000) = 0.0284
    assert found.mean == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - 0.0284, abs=0.003)
    assert found.high == pytest.approx(0.3 + 0.0284, abs=0.003)


def test_wider_confidence_gives_a_wider_interval() -> None:
    values = np.arange(100.0)
    narrow = mean_interval(values, num_bootstrap=500, seed=0, confidence=0.5)
    wide = mean_interval(values, num_bootstrap=500, seed=0, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_same_seed_gives_the_same_draws_in_any_column() -> None:
    values = np.random.default_rng(0).random((50, 1))
    first = bootstrap_means(values, num_bootstrap=20, seed=4)
    both = bootstrap_means(
        np.concatenate([values, values], axis=1), num_bootstrap=20, seed=4
    )
    other = bootstrap_means(values, num_bootstrap=20, seed=5)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_array_equal(first[:, 0], both[:, 0])
    assert not np.array_equal(first, other)


def test_queries_without_a_value_do_not_count() -> None:
    values = np.array([[2.0, 1.0], [2.0, np.nan], [2.0, np.nan], [2.0, 1.0]])
    means = bootstrap_means(values, num_bootstrap=200, seed=0)
    np.testing.assert_allclose(means[:, 0], 2.0)
    drawn = means[~np.isnan(means[:, 1]), 1]
    assert len(drawn) > 150  # Only resamples without query 0 and 3 have none: 1 / 16.
    np.testing.assert_allclose(drawn, 1.0)


def test_chunks_of_resamples_join_to_the_number_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(0).random((40, 2))
    whole = bootstrap_means(values, num_bootstrap=25, seed=1)
    monkeypatch.setattr("tfrec.evaluation.intervals._RESAMPLE_BYTES", 4 * 40 * 10)
    parts = bootstrap_means(values, num_bootstrap=25, seed=1)
    assert parts.shape == (25, 2)
    np.testing.assert_allclose(parts, whole)


def test_paired_difference_is_sure_where_separate_intervals_overlap() -> None:
    random = np.random.default_rng(2)
    easy = random.random(300)
    first, second = easy + 0.01, easy + random.normal(0, 0.01, 300)
    alone = [mean_interval(v, num_bootstrap=500, seed=0) for v in (first, second)]
    paired = paired_difference(first, second, num_bootstrap=500, seed=0)
    assert alone[0].low < alone[1].high  # They overlap …
    assert 0 < paired.low < 0.01 < paired.high  # … and yet the first is better.
    swapped = paired_difference(second, first, num_bootstrap=500, seed=0)
    assert swapped.low == pytest.approx(-paired.high, abs=1e-6)


def test_values_of_other_queries_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same queries.*\(3,\).*\(4,\)"):
        paired_difference(np.ones(3), np.ones(4), num_bootstrap=10, seed=0)
