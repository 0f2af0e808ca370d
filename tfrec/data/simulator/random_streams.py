"""Random numbers that depend on seed, shopper and step only, not on the chunk.

numpy's generators hand out one stream in call order, so a shopper's numbers
would depend on who is simulated beside them. SplitMix64 is a function of a
counter instead: any number of any stream is computed by itself, vectorised.

References:
    - Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators",
      OOPSLA 2014, https://doi.org/10.1145/2660193.2660195.
"""

import numpy as np

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_USER_STRIDE = np.uint64(0xD1342543DE82EF95)  # Odd, so that no two users collide.
DRAWS_PER_STEP = 256


def _mix(values: np.ndarray) -> np.ndarray:
    values = values ^ (values >> np.uint64(30))
    values *= _MIX_1
    values ^= values >> np.uint64(27)
    values *= _MIX_2
    values ^= values >> np.uint64(31)
    return values


def stream_keys(seed: int, users: np.ndarray) -> np.ndarray:
    """Returns one uint64 stream per user.

    Args:
        seed: Seed of the shop, not negative.
        users: int64 `[num_users]`, user numbers.

    Returns:
        uint64 `[num_users]`.
    """
    start = _mix(np.array([seed], np.uint64) + _GOLDEN_GAMMA)
    return _mix(start + (users.astype(np.uint64) + np.uint64(1)) * _USER_STRIDE)


def uniforms(
    keys: np.ndarray, steps: np.ndarray, *, num_draws: int, offset: int = 0
) -> np.ndarray:
    """Returns numbers in [0, 1) for given streams and steps.

    Args:
        keys: uint64 `[n]`, from `stream_keys`.
        steps: int64 `[n]`, not negative; each step has its own numbers.
        num_draws: How many numbers each.
        offset: First draw of the step; `offset + num_draws` is at most
            `DRAWS_PER_STEP`.

    Returns:
        float64 `[num_draws, n]`.
    """
    if offset + num_draws > DRAWS_PER_STEP:
        raise ValueError(
            f"A step has {DRAWS_PER_STEP} draws. Received: offset={offset}, "
            f"num_draws={num_draws}."
        )
    draws = np.arange(offset + 1, offset + num_draws + 1, dtype=np.uint64)
    counters = steps.astype(np.uint64) * np.uint64(DRAWS_PER_STEP)
    counters = counters[None, :] + draws[:, None]  # [num_draws, n]
    bits = _mix(keys[None, :] + counters * _GOLDEN_GAMMA)
    return (bits >> np.uint64(11)) * 2.0**-53
