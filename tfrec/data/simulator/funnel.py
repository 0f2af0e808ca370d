"""From looking at an item to buying it: dwell, cart, purchase."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tfrec.data.simulator.config import SimulatorConfig

_MAX_DWELL_SECONDS = 300.0
_DWELL_SIGMA = 0.6
_PURCHASE_FACTOR = np.array([0.8, 1.3, 1.0])  # By device: mobile, desktop, tablet.
NUM_FUNNEL_DRAWS = 4  # Dwell, cart, purchase, checkout.


@dataclass(frozen=True)
class Visits:
    """What came of n visits to item pages.

    Attributes:
        dwell_seconds: float32 `[n]`.
        cart: bool `[n]`.
        purchase: bool `[n]`, only where `cart`.
        cart_delay: int64 `[n]`, seconds after the visit began.
        purchase_delay: int64 `[n]`, likewise.
        duration: int64 `[n]`, seconds until the shopper is free again.
        restock_draw: float64 `[n]`, a spare uniform number.
    """

    dwell_seconds: np.ndarray
    cart: np.ndarray
    purchase: np.ndarray
    cart_delay: np.ndarray
    purchase_delay: np.ndarray
    duration: np.ndarray
    restock_draw: np.ndarray


def visit_items(
    match: np.ndarray,
    device: np.ndarray,
    *,
    draws: np.ndarray,
    config: SimulatorConfig,
) -> Visits:
    """Draws what shoppers do on item pages.

        dwell    ~ LogNormal(log(6 + 50 match), 0.6), in [1, 300] seconds
        cart     ~ Bernoulli(cart_rate (0.1 + 0.9 match²))
        purchase ~ Bernoulli(purchase_rate · factor[device]), after a cart

    Args:
        match: float64 `[n]` in [0, 1], how well the item fits the intent; above
            1 where the shopper came to buy.
        device: int `[n]`.
        draws: float64 `[NUM_FUNNEL_DRAWS, n]`.
        config: Rates.
    """
    noise = _DWELL_SIGMA * ndtri(np.clip(draws[0], 1e-9, 1 - 1e-9))
    dwell = (6.0 + 50.0 * np.minimum(match, 1.0)) * np.exp(noise)
    dwell = np.round(np.clip(dwell, 1.0, _MAX_DWELL_SECONDS), 1)
    cart = draws[1] < config.cart_rate * (0.1 + 0.9 * match**2)
    purchase = cart & (draws[2] < config.purchase_rate * _PURCHASE_FACTOR[device])
    cart_delay = 1 + (dwell / 2).astype(np.int64)
    purchase_delay = cart_delay + 30 + (draws[3] * 150).astype(np.int64)
    duration = np.maximum(
        np.ceil(dwell).astype(np.int64),
        np.where(purchase, purchase_delay, cart_delay * cart),
    )
    return Visits(
        dwell_seconds=dwell.astype(np.float32),
        cart=cart,
        purchase=purchase,
        cart_delay=cart_delay,
        purchase_delay=purchase_delay,
        duration=duration,
        restock_draw=draws[3],
    )
