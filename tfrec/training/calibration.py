"""Fits the calibration of a trained ranking model to lists of the validation split."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tfrec.config import ExperimentConfig, RankingConfig
from tfrec.data.store import EventSequences
from tfrec.models.calibration import Calibration
from tfrec.models.ranking_model import RankingModel
from tfrec.training.calibrators import (
    MIN_EVENTS_OF_SLOPE,
    Calibrator,
    CalibratorKind,
    Share,
    fit_calibrator,
)
from tfrec.training.head_lists import (
    Lists,
    Population,
    Predictions,
    best_place,
    counted_cells,
    head_cells,
    outcome_labels,
    predict,
    slice_index,
)
from tfrec.training.ranking_lists import RankingLists

_LOGGER = logging.getLogger(__name__)


def fit_calibration(
    config: ExperimentConfig,
    settings: RankingConfig,
    sequences: EventSequences,
    model: RankingModel,
    lists: Lists,
    *,
    populations: Mapping[str, Population],
    all_lists: Lists | None = None,
) -> dict[str, Any]:
    """Sets the curves of a trained model.

    Every head is fitted to the lists that it is about, see `find_populations`: as they
    are served (retrieved for held-out users, whether their target was among them or
    not) or as they were shown. What the model says of users that it was trained on is
    too sure, so the form of a curve is fitted to the others. How often an event
    happens has nothing to do with the model: the level is that of all users, for whom
    the held-out ones, drawn by chance, stand.

    Args:
        config: Of the experiment.
        settings: Its ranking.
        sequences: All events.
        model: Trained; it gets the curves.
        lists: Of users that were not trained on.
        populations: Per head the lists that it is about; of those in `lists`.
        all_lists: The same of all users; None: there are no others.

    Returns:
        Per head its population, the kind of its curve, how many events its form was
        fitted to, log loss of these before and after, and which slices got a curve of
        their own. Empty without calibration.
    """
    calibration = model.calibration
    if calibration is None or settings.calibration == "none":
        return {}
    schema = config.experiment_schema
    types = schema.head_event_types or schema.target_event_types
    samples: dict[Population, _Samples] = {}
    outcomes: dict[Population, _ListOutcomes] = {}
    for name in set(populations.values()):
        everybody = (all_lists or lists)[name]
        counted = partial(
            counted_cells,
            position_bias=settings.position_bias,
            best=best_place(everybody),
        )
        outcomes[name] = _ListOutcomes(sequences, model, everybody, counted(everybody))
        own = _ListOutcomes(sequences, model, lists[name], counted(lists[name]))
        samples[name] = _Samples(config, sequences, model, lists[name], own)
    report, curves = {}, []
    for h, head in enumerate(types):
        logits, labels, slices = samples[populations[head]].of_head(h)
        fitted = _fit_head(
            settings.calibration,
            logits,
            labels,
            slices,
            calibration,
            outcomes=outcomes[populations[head]].of_head(h),
        )
        curves.append(fitted)
        about = _describe(fitted, logits, labels, slices)
        report[head] = {"population": populations[head], **about}
        if fitted.common.kind in ("identity", "shift"):
            _warn_few(head, labels)
    _assign(calibration, curves)
    return report


class _ListOutcomes:
    """What happened in lists of one population, by head."""

    def __init__(
        self,
        sequences: EventSequences,
        model: RankingModel,
        lists: RankingLists,
        cells: np.ndarray,
    ) -> None:
        self.labels = outcome_labels(model, lists)
        self.cells = cells
        self.slices = slice_index(model, sequences, lists)

    def places(self, head: int) -> np.ndarray:
        """Returns the flat places of the candidates that count."""
        return head_cells(self.labels, self.cells, head)

    def of_head(self, head: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels and slices of the candidates that count."""
        places = self.places(head)
        labels = self.labels[..., head].ravel()[places] > 0
        return labels, self.slices[places // self.cells.shape[1]]


class _Samples:
    """Logits and outcomes of one population, by head."""

    def __init__(
        self,
        config: ExperimentConfig,
        sequences: EventSequences,
        model: RankingModel,
        lists: RankingLists,
        outcomes: _ListOutcomes,
    ) -> None:
        self.outcomes = outcomes
        self.predictions: Predictions = predict(
            model, sequences, lists, max_history_length=config.max_history_length
        )

    def of_head(self, head: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns logits, labels and slices of the candidates that count."""
        places = self.outcomes.places(head)
        logits = self.predictions.raw[..., head].ravel()[places]
        return logits, *self.outcomes.of_head(head)


@dataclass(frozen=True)
class _HeadCurves:
    """The common curve of a head, and those of slices with enough events."""

    common: Calibrator
    by_slice: dict[int, Calibrator]

    def of_slice(self, index: int) -> Calibrator:
        return self.by_slice.get(index, self.common)


def _fit_head(
    kind: CalibratorKind,
    logits: np.ndarray,
    labels: np.ndarray,
    slices: np.ndarray,
    calibration: Calibration,
    *,
    outcomes: tuple[np.ndarray, np.ndarray],
) -> _HeadCurves:
    """Fits the curves of a head to samples, and their level to `outcomes`."""
    happened_at, slices_at = outcomes
    by_slice = {}
    indices = range(calibration.num_slices) if calibration.slice_name else ()
    for index in indices:
        chosen = slices == index
        happened = int(labels[chosen].sum())
        if min(happened, int(chosen.sum()) - happened) >= MIN_EVENTS_OF_SLOPE:
            by_slice[index] = fit_calibrator(
                kind,
                logits[chosen],
                labels[chosen],
                share=_share(happened_at[slices_at == index]),
            )
    common = fit_calibrator(kind, logits, labels, share=_share(happened_at))
    return _HeadCurves(common, by_slice)


def _share(happened: np.ndarray) -> Share:
    return Share(int(happened.sum()), len(happened))


def _assign(calibration: Calibration, heads: list[_HeadCurves]) -> None:
    curves = [
        [head.of_slice(index) for head in heads]
        for index in range(calibration.num_slices)
    ]
    calibration.set_curves(
        np.array([[curve.padded_knots() for curve in row] for row in curves]),
        np.array([[curve.tails for curve in row] for row in curves]),
    )


def _describe(
    curves: _HeadCurves, logits: np.ndarray, labels: np.ndarray, slices: np.ndarray
) -> dict[str, Any]:
    """Returns what was fitted to what, as plain data."""
    calibrated = curves.common(logits)
    for index, curve in curves.by_slice.items():
        calibrated[slices == index] = curve(logits[slices == index])
    return {
        "kind": curves.common.kind,
        "candidates": len(labels),
        "events": int(labels.sum()),
        "slices": sorted(curves.by_slice),
        "log_loss_before": _log_loss(logits, labels),
        "log_loss": _log_loss(calibrated, labels),
    }


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Returns the mean of log(1 + exp(x)) - x label; None without candidates."""
    if not len(labels):
        return None
    return float((np.logaddexp(0.0, logits) - logits * labels).mean())


def _warn_few(head: str, labels: np.ndarray) -> None:
    _LOGGER.warning(
        "The probability of '%s' is calibrated roughly: held-out users have only %d "
        "such events among %d candidates, and a curve takes %d. A longer "
        "`data.split.validation_days` or larger `ranking.holdout_share` gives more.",
        head,
        labels.sum(),
        len(labels),
        MIN_EVENTS_OF_SLOPE,
    )
