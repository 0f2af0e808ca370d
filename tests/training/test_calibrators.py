import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from tfrec.models.calibration import NUM_KNOTS
from tfrec.training.calibrators import (
    IDENTITY,
    MIN_EVENTS_OF_BEND,
    MIN_EVENTS_OF_CURVE,
    MIN_EVENTS_OF_SLOPE,
    CalibratorKind,
    Share,
    affordable_kind,
    fit_calibrator,
)

KINDS: list[CalibratorKind] = ["temperature", "platt", "bent", "isotonic"]


def made(
    distort=lambda x: x, *, num: int = 40_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model and outcomes; `distort` gives the true logit of each."""
    random = np.random.default_rng(seed)
    logits = random.normal(-2.0, 1.5, num).astype(np.float32)
    return logits, random.random(num) < expit(distort(logits))


def test_temperature_is_the_logistic_regression_without_a_shift():
    logits, labels = made(lambda x: 0.5 * x)
    found = fit_calibrator("temperature", logits, labels)
    model = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-8)
    slope = model.fit(logits[:, None], labels).coef_[0, 0]
    np.testing.assert_allclose(found(logits), slope * logits, rtol=1e-3)
    assert found.tails[0] == pytest.approx(0.5, abs=0.02)


def test_platt_is_the_logistic_regression():
    logits, labels = made(lambda x: 0.6 * x - 1.3)
    found = fit_calibrator("platt", logits, labels)
    model = LogisticRegression(C=1e9, tol=1e-8).fit(logits[:, None], labels)
    np.testing.assert_allclose(
        expit(found(logits)), model.predict_proba(logits[:, None])[:, 1], atol=1e-4
    )
    assert found.knots[0, 1] == pytest.approx(-1.3, abs=0.06)


def test_isotonic_knots_are_the_steps_of_isotonic_regression():
    # Three levels of logits, so three steps; shares 10, 25 and 60 % by construction.
    logits = np.repeat([-3.0, -1.0, 2.0], 2_000)
    labels = np.concatenate(
        [np.arange(2_000) < round(2_000 * share) for share in (0.1, 0.25, 0.6)]
    )
    found = fit_calibrator("isotonic", logits, labels)
    steps = IsotonicRegression().fit(logits, labels).predict([-3.0, -1.0, 2.0])
    np.testing.assert_allclose(expit(found(np.array([-3.0, -1.0, 2.0]))), steps)
    # Straight in between, and with slope 1 beyond.
    middle = (logit(0.1) + logit(0.25)) / 2
    np.testing.assert_allclose(found(np.array([-2.0])), [middle], atol=1e-6)
    np.testing.assert_allclose(found(np.array([5.0])), [logit(0.6) + 3.0], atol=1e-6)


def bent(x: np.ndarray) -> np.ndarray:
    """Right in the middle, far too sure on top."""
    return np.minimum(x, -1.0) + 0.2 * np.maximum(x + 1.0, 0.0) - 0.5


def test_a_bent_curve_is_two_straight_lines_that_meet_at_the_median_event():
    # The median of the events is about -1.2; the truth bends there.
    logits, labels = made(lambda x: np.minimum(x, -1.2) + 0.3 * np.maximum(x + 1.2, 0))
    found = fit_calibrator("bent", logits, labels)
    assert found.kind == "bent"
    assert found.knots.shape == (1, 2)
    assert found.knots[0, 0] == pytest.approx(np.median(logits[labels]), abs=1e-6)
    np.testing.assert_allclose(found.tails, [1.0, 0.3], atol=0.15)
    gaps = [
        np.abs(expit(fit_calibrator(kind, logits, labels)(logits)) - expit(truth)).max()
        for truth in [np.minimum(logits, -1.2) + 0.3 * np.maximum(logits + 1.2, 0)]
        for kind in ("bent", "platt")
    ]
    assert gaps[0] < gaps[1] / 3


def test_isotonic_finds_a_bent_curve_that_platt_cannot():
    logits, labels = made(bent, num=200_000)
    asked = np.linspace(-4.5, 1.5, 50)
    gaps = {
        kind: np.abs(
            expit(fit_calibrator(kind, logits, labels)(asked)) - expit(bent(asked))
        )  # fmt: skip
        for kind in KINDS
    }
    assert gaps["isotonic"].max() < 0.03
    assert gaps["isotonic"].mean() < gaps["platt"].mean() / 2
    step = IsotonicRegression(out_of_bounds="clip").fit(logits, labels).predict(asked)
    drawn = expit(fit_calibrator("isotonic", logits, labels)(asked))
    np.testing.assert_allclose(drawn, step, atol=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_already_right_stays(kind):
    logits, labels = made()
    found = fit_calibrator(kind, logits, labels)
    np.testing.assert_allclose(expit(found(logits)), expit(logits), atol=0.03)


@pytest.mark.parametrize("kind", ["platt", "bent", "isotonic"])
@pytest.mark.parametrize("num", [300, 20_000])
def test_as_many_events_are_promised_as_happened(kind, num):
    logits, labels = made(lambda x: x + 1.0, num=num)
    found = fit_calibrator(kind, logits, labels)
    assert expit(found(logits)).mean() == pytest.approx(labels.mean(), rel=1e-4)


@pytest.mark.parametrize("kind", ["platt", "bent", "isotonic"])
def test_the_level_is_that_of_a_larger_sample_and_the_form_stays(kind):
    logits, labels = made(lambda x: x + 1.0, num=20_000)
    share = Share(3_000, 100_000)
    own, found = (fit_calibrator(kind, logits, labels, share=s) for s in (None, share))
    assert expit(found(logits)).mean() == pytest.approx(0.03, rel=1e-4)
    moved = found(logits) - own(logits)
    np.testing.assert_allclose(moved, moved[0], atol=1e-6)
    assert moved[0] < -0.5


def test_a_temperature_has_no_level():
    logits, labels = made(lambda x: 0.5 * x)
    own, found = (
        fit_calibrator("temperature", logits, labels, share=s)
        for s in (None, Share(1, 100))
    )
    assert found.tails == own.tails
    assert (found.knots == 0.0).all()


@pytest.mark.parametrize("happened", [0, 500])
def test_a_level_without_both_outcomes_stays_possible(happened):
    logits, labels = made(num=5_000)
    found = fit_calibrator("bent", logits, labels, share=Share(happened, 500))
    assert found.kind == "shift"
    assert 0.0 < expit(found(logits)).mean() < 1.0


def test_events_of_others_carry_a_shift_further():
    logits = np.linspace(-6.0, 1.0, 5_000)
    labels = np.arange(5_000) % 500 == 0  # 10 events.
    found = fit_calibrator("platt", logits, labels, share=Share(50, 25_000))
    assert found.kind == "shift"
    expected = 5 * expit(logits).sum()
    wanted = expected * (5 + 50) / (5 + expected)
    assert 5 * expit(found(logits)).sum() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distort", [bent, lambda x: -x, lambda x: 0 * x])
def test_curves_rise_strictly_whatever_the_data(kind, distort):
    """A model whose order is wrong, or means nothing, keeps its order all the same."""
    logits, labels = made(distort, num=5_000)
    found = fit_calibrator(kind, logits, labels)
    asked = np.linspace(-12, 12, 2_000)
    values = found(asked).astype(np.float32)
    assert (np.diff(values) > 0).all()
    assert np.isfinite(values).all()
    assert len(found.knots) <= NUM_KNOTS
    assert found.padded_knots().shape == (NUM_KNOTS, 2)


def test_equal_logits_give_one_knot():
    labels = np.arange(2_000) % 4 == 0
    found = fit_calibrator("isotonic", np.zeros(2_000), labels)
    np.testing.assert_allclose(expit(found(np.zeros(1))), [0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("num_events", "kind"),
    [
        (1, "shift"),
        (MIN_EVENTS_OF_SLOPE - 1, "shift"),
        (MIN_EVENTS_OF_SLOPE, "platt"),
        (MIN_EVENTS_OF_BEND, "bent"),
        (MIN_EVENTS_OF_CURVE, "isotonic"),
    ],
)
def test_few_events_give_a_simpler_curve(num_events, kind):
    assert affordable_kind("isotonic", num_events) == kind
    logits = np.linspace(-6.0, 1.0, 5_000)
    for labels in (np.arange(5_000) % 5_000 >= 5_000 - num_events,):
        assert fit_calibrator("isotonic", logits, labels).kind == kind
        # It is the rarer outcome that counts.
        assert fit_calibrator("isotonic", logits, ~labels).kind == kind


def test_a_shift_keeps_differences_and_goes_as_far_as_events_carry():
    logits = np.linspace(-6.0, 1.0, 5_000)
    labels = np.arange(5_000) % 250 == 0  # 20 events.
    found = fit_calibrator("platt", logits, labels)
    assert found.kind == "shift"
    np.testing.assert_allclose(np.diff(found(logits)), np.diff(logits))
    expected = expit(logits).sum()
    wanted = expected * (5 + 20) / (5 + expected)
    assert expit(found(logits)).sum() == pytest.approx(wanted, rel=1e-4)
    # The same of the other outcome.
    other = fit_calibrator("platt", -logits, ~labels)
    np.testing.assert_allclose(other(-logits), -found(logits), atol=1e-4)


@pytest.mark.parametrize("happens", [False, True])
def test_without_both_outcomes_probabilities_move_but_stay_possible(happens):
    logits = np.linspace(-1, 1, 50)  # 25 are expected.
    found = fit_calibrator("isotonic", logits, np.full(50, happens))
    rarer = expit(-found(logits) if happens else found(logits)).sum()
    assert rarer == pytest.approx(25 * 5 / (5 + 25), rel=1e-4)


def test_without_candidates_nothing_changes():
    assert fit_calibrator("platt", np.zeros(0), np.zeros(0, bool)) is IDENTITY
    assert IDENTITY(np.array([0.3])) == pytest.approx(0.3)
