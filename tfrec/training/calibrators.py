"""Fits curves that make probabilities right, with as many numbers as data carry."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from tfrec.models.calibration import NUM_KNOTS

CalibratorKind = Literal[
    "identity", "shift", "temperature", "platt", "bent", "isotonic"
]

# A proportion seen k times is known to about 1 / sqrt(k): 14 % at 50, 7 % at 200.
MIN_EVENTS_OF_SLOPE = 50  # Of the rarer outcome, for a second number.
MIN_EVENTS_OF_BEND = 100  # For a third one.
MIN_EVENTS_OF_CURVE = 200  # For a curve of any form.
_PRIOR_EVENTS = 5.0  # That the model is taken to be right by, before any is seen.
_MIN_EVENTS_OF_KNOT = 20
_MIN_SLOPE = 0.01  # What is all but level would tie candidates in float32.
_MIN_WIDTH = 1e-3  # Of a segment, in logits.
_WIDEST_LOGIT = 50.0  # A probability of 1e-22.


class Share(NamedTuple):
    """How often something happened: in `happened` of `total` cases."""

    happened: int
    total: int


@dataclass(frozen=True)
class Calibrator:
    """A rising curve over logits, see `tfrec.models.calibration.Calibration`.

    Attributes:
        kind: How it was fitted.
        knots: float64 `[num_knots, 2]`, pairs (x, y) that rise in both.
        tails: Slopes below the first and above the last knot.
    """

    kind: CalibratorKind
    knots: np.ndarray
    tails: tuple[float, float]

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated logits, same shape, float64."""
        x, y = self.knots.T
        below = self.tails[0] * np.minimum(logits - x[0], 0.0)
        above = self.tails[1] * np.maximum(logits - x[-1], 0.0)
        return np.interp(logits, x, y) + below + above

    def padded_knots(self) -> np.ndarray:
        """Returns float64 `[NUM_KNOTS, 2]`, the last knot repeated."""
        missing = NUM_KNOTS - len(self.knots)
        return np.concatenate([self.knots, np.repeat(self.knots[-1:], missing, 0)])


IDENTITY = Calibrator("identity", np.zeros((1, 2)), (1.0, 1.0))


def fit_calibrator(
    kind: CalibratorKind,
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    share: Share | None = None,
) -> Calibrator:
    """Fits a curve, of a simpler kind where there are few events.

    Its form is fitted to the samples; its level, but for a temperature, to `share`:
    probabilities are promised so large that their mean is that.

    Fewer than `MIN_EVENTS_OF_CURVE` events (or non-events) give a bent curve instead of
    isotonic regression, fewer than `MIN_EVENTS_OF_BEND` Platt's instead of a bent one,
    fewer than `MIN_EVENTS_OF_SLOPE` a mere shift of the logits, to the mean

        mean label = mean sigmoid(x) (5 + happened) / (5 + expected),

    happened and expected among as many as `share` has, which is the posterior mean of
    a rate under a Gamma(5, 5) prior on the ratio of what happened to what was expected:
    a handful of events moves it only so far.

    Args:
        kind: What is wanted.
        logits: float `[num_samples]`.
        labels: bool `[num_samples]`.
        share: Of events among all that the samples stand for, themselves included;
            None: among the samples.
    """
    logits = logits.astype(np.float64)
    if not len(labels):
        return IDENTITY
    share = share or Share(int(labels.sum()), len(labels))
    happened = int(labels.sum())
    kind = affordable_kind(kind, min(happened, len(labels) - happened))
    if not 0 < share.happened < share.total and kind != "temperature":
        kind = "shift"  # Only that has a prior, and stays possible.
    if kind == "shift":
        shift = _shift(logits, _posterior_mean(logits, share))
        return Calibrator(kind, np.array([[0.0, shift]]), (1.0, 1.0))
    if kind == "isotonic":
        return _fit_isotonic(logits, labels, share)
    if kind == "bent":
        return _fit_bent(logits, labels, share)
    has_shift = kind != "temperature"
    slope = float(_slopes(logits[:, None], labels, has_shift=has_shift)[0])
    wanted = share.happened / share.total
    shift = _shift(slope * logits, wanted) if has_shift else 0.0
    return Calibrator(kind, np.array([[0.0, shift]]), (slope, slope))


def affordable_kind(kind: CalibratorKind, num_events: int) -> CalibratorKind:
    """Returns what can be fitted to so many events of the rarer outcome."""
    if kind == "isotonic" and num_events < MIN_EVENTS_OF_CURVE:
        kind = "bent"
    if kind == "bent" and num_events < MIN_EVENTS_OF_BEND:
        kind = "platt"
    return kind if num_events >= MIN_EVENTS_OF_SLOPE else "shift"


def _posterior_mean(logits: np.ndarray, share: Share) -> float:
    """Returns the share of events that is likely by prior and data."""
    happened, total = share
    if 2 * happened > total:  # Of the rarer outcome.
        return 1.0 - _posterior_mean(-logits, Share(total - happened, total))
    mean = expit(logits).mean()
    ratio = (_PRIOR_EVENTS + happened) / (_PRIOR_EVENTS + mean * total)
    return float(mean * ratio)


def _shift(logits: np.ndarray, wanted: float) -> float:
    """Returns b with mean sigmoid(logits + b) = wanted."""

    def excess(shift: float) -> float:
        return float(expit(logits + shift).mean() - wanted)

    widest = np.abs(logits).max() + _WIDEST_LOGIT
    return root_scalar(excess, bracket=(-widest, widest), xtol=1e-6).root


def _slopes(
    values: np.ndarray, labels: np.ndarray, *, has_shift: bool = True
) -> np.ndarray:
    """Returns the coefficients of a logistic regression, `_MIN_SLOPE` at least."""
    # The ridge of 1 is next to nothing beside `MIN_EVENTS_OF_SLOPE` events, and keeps
    # slopes finite where events and others do not overlap.
    model = LogisticRegression(
        C=1.0, fit_intercept=has_shift, solver="newton-cholesky"
    ).fit(values, labels)
    return np.maximum(model.coef_[0], _MIN_SLOPE)


def _fit_bent(logits: np.ndarray, labels: np.ndarray, share: Share) -> Calibrator:
    """Fits a straight line with one bend, at the median logit of the rarer outcome.

    Where probabilities have a ceiling, as clicks do that only so many shoppers make
    whatever is shown, one slope is too steep above and too flat below.

    References:
        - Lucena, "Spline-Based Probability Calibration", 2018,
          https://arxiv.org/abs/1809.07751 (with more knots, and curved).
    """
    rarer = labels if 2 * labels.sum() <= len(labels) else ~labels
    bend = float(np.median(logits[rarer]))
    parts = [np.minimum(logits - bend, 0.0), np.maximum(logits - bend, 0.0)]
    values = np.stack(parts, axis=1)
    slopes = _slopes(values, labels)
    shift = _shift(values @ slopes, share.happened / share.total)
    knots = np.array([[bend, shift]])
    return Calibrator("bent", knots, (float(slopes[0]), float(slopes[1])))


def _fit_isotonic(logits: np.ndarray, labels: np.ndarray, share: Share) -> Calibrator:
    """Fits isotonic regression and draws a rising line through its steps.

    A step is a level stretch: what is on it would tie, and the order would be lost.
    So every step becomes the knot (logit mean sigmoid(x), logit mean label), and the
    curve runs straight from knot to knot. Steps with few events are joined first.
    """
    order = np.argsort(logits, kind="stable")
    logits, labels = logits[order], labels[order]
    fitted = IsotonicRegression().fit(logits, labels).predict(logits)
    begins = np.flatnonzero(np.diff(fitted, prepend=-1.0) > 1e-12)
    count = np.diff(begins, append=len(logits)).astype(np.float64)
    happened = np.add.reduceat(labels.astype(np.float64), begins)
    expected = np.add.reduceat(expit(logits), begins)
    group = _join_steps(happened, count)
    count, happened, expected = (
        np.bincount(group, values) for values in (count, happened, expected)
    )
    knots = _rising(logit(expected / count), logit(happened / count))
    curve = Calibrator("isotonic", knots, (1.0, 1.0))
    # Bending the steps moved the mean a little, too.
    knots[:, 1] += _shift(curve(logits), share.happened / share.total)
    return curve


def _join_steps(happened: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns int `[num_steps]`, the group of each: enough events, few groups."""
    information = happened * (count - happened) / count
    done = np.cumsum(information) - information
    size = max(information.sum() / (NUM_KNOTS - 1), _MIN_EVENTS_OF_KNOT)
    group = np.unique((done // size).astype(int), return_inverse=True)[1]
    if group[-1] and information[group == group[-1]].sum() < size / 2:
        group[group == group[-1]] -= 1
    return group


def _rising(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Joins knots into float64 `[num_knots, 2]` that rise by a least slope."""
    kept = [0]
    for place in range(1, len(x)):
        if x[place] - x[kept[-1]] >= _MIN_WIDTH:
            kept.append(place)
    x, y = x[kept], y[kept]
    floor = _MIN_SLOPE * x
    return np.stack([x, np.maximum.accumulate(y - floor) + floor], axis=1)
