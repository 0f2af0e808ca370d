import numpy as np
import pytest

from tfrec.data.simulator.random_streams import stream_keys, uniforms


def test_numbers_of_a_user_do_not_depend_on_who_is_drawn_beside_them() -> None:
    together = uniforms(
        stream_keys(5, np.arange(10)), np.full(10, 4), num_draws=6, offset=3
    )
    alone = uniforms(
        stream_keys(5, np.array([7])), np.array([4]), num_draws=6, offset=3
    )
    np.testing.assert_array_equal(together[:, 7:8], alone)


def test_draws_are_uniform_over_users_steps_and_draws() -> None:
    keys = stream_keys(0, np.arange(200).repeat(10))
    draws = uniforms(keys, np.tile(np.arange(10), 200), num_draws=50)
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    # 100,000 draws, 5,000 a bin: chi-square with 19 degrees of freedom has mean
    # 19 and sd 6.2; 50 is five sd away.
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 50
    for first, second in ((draws[0], draws[1]), (draws[:, :-1], draws[:, 1:])):
        correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(first.size)


def test_seeds_users_and_steps_all_change_the_numbers() -> None:
    def first(seed: int, user: int, step: int) -> float:
        keys = stream_keys(seed, np.array([user]))
        return float(uniforms(keys, np.array([step]), num_draws=1)[0, 0])

    cases = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({first(*case) for case in cases}) == len(cases)


def test_too_many_draws_of_a_step_are_an_error() -> None:
    with pytest.raises(ValueError, match="num_draws=10"):
        uniforms(stream_keys(0, np.arange(1)), np.zeros(1), num_draws=10, offset=250)
