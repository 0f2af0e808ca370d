"""Calibration of the heads inside the graph: rising curves over logits."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import RankingConfig
from tfrec.features.request import Request
from tfrec.ranking_config import SHOPPER

NUM_KNOTS = 32  # Of a curve; one with fewer repeats its last.


class Calibration(tf.keras.layers.Layer):
    """Moves logits so that `sigmoid` of them is how often the event really happens.

    A curve through the knots (x_k, y_k), straight between them and beyond:

        f(x) = y_1 + a min(x - x_1, 0) + b max(x - x_K, 0)
               + sum_k s_k clip(x - x_k, 0, x_{k+1} - x_k)
        s_k  = (y_{k+1} - y_k) / (x_{k+1} - x_k)

    Temperature and Platt scaling are one knot (0, shift) with a = b = factor, a bent
    line is one knot with two factors, isotonic regression is up to `NUM_KNOTS` knots
    with a = b = 1. All slopes are above 0, so the order by one head stays what it was.
    Knots are set by `set_curves`; before that f(x) = x.

    Args:
        num_heads: Heads, each with curves of its own.
        num_slices: Curves of a head, one a value of the slice.
        slice_name: Context attribute whose index chooses the curve, or `shopper`: 0
            with a history, 1 without; None where all requests share one.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        logits: float `[batch_size, num_candidates, num_heads]`.
        request: Says which slice a row is of.

    Returns:
        float32 `[batch_size, num_candidates, num_heads]`.

    References:
        - Platt, "Probabilistic outputs for support vector machines", 1999.
        - Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
          probability estimates", KDD 2002 (isotonic).
        - Guo et al., "On calibration of modern neural networks", ICML 2017
          (temperature).
    """

    def __init__(
        self,
        num_heads: int,
        *,
        num_slices: int = 1,
        slice_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.num_heads = num_heads
        self.num_slices = num_slices
        self.slice_name = slice_name
        curves = (num_slices, num_heads)
        self.knots = self.add_weight(
            name="knots",
            shape=(*curves, NUM_KNOTS, 2),
            initializer="zeros",
            trainable=False,
        )
        self.tails = self.add_weight(
            name="tails", shape=(*curves, 2), initializer="ones", trainable=False
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_slices": self.num_slices,
            "slice_name": self.slice_name,
        }

    def set_curves(self, knots: np.ndarray, tails: np.ndarray) -> None:
        """Sets all curves.

        Args:
            knots: float `[num_slices, num_heads, NUM_KNOTS, 2]`, pairs (x, y) that
                rise in both; repeated ones count once.
            tails: float `[num_slices, num_heads, 2]`, slopes beyond, above 0.

        Raises:
            ValueError: If a curve does not rise, or the shapes are others.
        """
        rising = (np.diff(knots, axis=-2) >= 0).all() and (tails > 0).all()
        shapes = (knots.shape, tails.shape)
        if shapes != (tuple(self.knots.shape), tuple(self.tails.shape)) or not rising:
            raise ValueError(
                "`knots` must rise in x and y, `tails` be above 0, and the shapes be "
                f"{self.knots.shape} and {self.tails.shape}. Received: "
                f"shapes={shapes}, rising={bool(rising)}."
            )
        self.knots.assign(knots)
        self.tails.assign(tails)

    def slice_index(self, request: Request) -> tf.Tensor:
        """Returns int32 `[batch_size]`, which curve the rows are for."""
        if self.slice_name == SHOPPER:
            known = tf.reduce_any(request.history_mask, axis=1)
            return 1 - tf.cast(known, tf.int32)
        if self.slice_name is None:
            return tf.zeros_like(request.request_timestamp, tf.int32)
        return tf.cast(request.context[self.slice_name], tf.int32)

    def call(self, logits: tf.Tensor, request: Request) -> tf.Tensor:
        logits = tf.cast(logits, tf.float32)
        index = self.slice_index(request)
        knots = tf.gather(self.knots, index)[:, tf.newaxis]
        tails = tf.gather(self.tails, index)[:, tf.newaxis]
        x, y = knots[..., 0], knots[..., 1]  # [batch_size, 1, num_heads, NUM_KNOTS]
        widths = x[..., 1:] - x[..., :-1]
        slopes = tf.math.divide_no_nan(y[..., 1:] - y[..., :-1], widths)
        steps = tf.maximum(tf.expand_dims(logits, -1) - x[..., :-1], 0.0)
        inner = tf.reduce_sum(slopes * tf.minimum(steps, widths), axis=-1)
        below = tails[..., 0] * tf.minimum(logits - x[..., 0], 0.0)
        above = tails[..., 1] * tf.maximum(logits - x[..., -1], 0.0)
        return y[..., 0] + inner + below + above


def build_calibration(
    config: RankingConfig, *, num_heads: int, context_sizes: dict[str, int]
) -> Calibration | None:
    """Builds the layer of a configuration; None without calibration.

    Args:
        config: Kind and slice.
        num_heads: Heads of the model.
        context_sizes: Vocabulary rows per categorical context attribute; 0 for a
            numeric one.
    """
    name = config.calibration_slice
    if config.calibration == "none":
        return None
    if name is None:
        return Calibration(num_heads)
    num_slices = 2 if name == SHOPPER else context_sizes[name]
    return Calibration(num_heads, num_slices=num_slices, slice_name=name)
