"""Which lists tell how likely a head's event is, and what the model says of them."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.models.funnel import funnel_labels
from tfrec.models.ranking_model import UNDEFINED_LABEL, RankingBatch, RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.list_sources import happened
from tfrec.training.mining import impression_lists, mine_candidates
from tfrec.training.ranking_batches import batch_spec, make_batch
from tfrec.training.ranking_lists import RankingLists

Population = Literal["retrieved", "shown"]
Lists = Mapping[Population, RankingLists]

_BATCH_CANDIDATES = 6_400
_HIDDEN = -1e4  # Retrieval score of what a list had to be filled up with.
_NEAR_BEST = 0.95


class Predictions(NamedTuple):
    """What the model says of lists.

    Attributes:
        raw: float32 `[num_lists, num_candidates, num_heads]`, logits as trained.
        calibrated: The same as served.
        log_dwell: float32 `[num_lists, num_candidates]`, predicted log(1 + seconds);
            0 without that head.
    """

    raw: np.ndarray
    calibrated: np.ndarray
    log_dwell: np.ndarray


def find_populations(
    config: ExperimentConfig, shown: list[RankingLists]
) -> dict[str, Population]:
    """Returns of which candidates each head gives the probability.

    `retrieved`: P(event | the candidate was retrieved for the request), over all
    requests, also those whose target was not retrieved. So it is for target event
    types, and for all that shown lists do not teach: the log has none, none of their
    items is known, or the event never followed through one. `shown`: P(event | the
    candidate was shown), for the others: a click needs a list to be made in.

    Args:
        config: Of the experiment.
        shown: The shown lists that are learned from; empty where there are none.
    """
    schema = config.experiment_schema
    heads = schema.head_event_types or schema.target_event_types
    is_taught = happened(shown, num_heads=len(heads))
    return {
        head: "shown" if taught and head in schema.shown_head_types else "retrieved"
        for head, taught in zip(heads, is_taught, strict=True)
    }


def find_evaluation_lists(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    recommender: TrainedRecommender,
    *,
    split: int,
    max_lists: int,
) -> Lists:
    """Returns lists of a split as they are served, and those shown, if any were.

    Args:
        config: Of the experiment.
        dataset: The prepared data.
        recommender: Retrieves, as deep as in serving.
        split: Index of the split.
        max_lists: Of either sort, drawn by seed.
    """
    sequences = dataset.load_sequences()
    lists: dict[Population, RankingLists] = {
        "retrieved": mine_candidates(
            config, sequences, recommender, split=split, max_lists=max_lists
        )
    }
    impressions = dataset.load_impressions()
    if impressions is not None and config.experiment_schema.shown_head_types:
        shown = impression_lists(
            config,
            sequences,
            impressions,
            recommender,
            split=split,
            max_lists=max_lists,
        )
        if shown.num_lists:
            lists["shown"] = shown
    return lists


def predict(
    model: RankingModel,
    sequences: EventSequences,
    lists: RankingLists,
    *,
    max_history_length: int,
) -> Predictions:
    """Runs the model on lists, without and with its calibration."""

    @tf.function(input_signature=[batch_spec(sequences, lists)], autograph=False)
    def run(batch: RankingBatch) -> tuple[tf.Tensor, ...]:
        request = batch.inputs.request
        logits, log_dwell = model.forward(batch.inputs)
        if isinstance(log_dwell, tuple):
            log_dwell = tf.zeros_like(tf.reduce_max(logits, axis=-1))
        return logits, model.calibrated(logits, request), log_dwell

    shape = (lists.num_lists, lists.candidate_index.shape[1], len(model.heads))
    found = Predictions(
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape[:2], np.float32),
    )
    step = max(_BATCH_CANDIDATES // max(shape[1], 1), 1)
    for start in range(0, lists.num_lists, step):
        rows = np.arange(start, min(start + step, lists.num_lists))
        batch = make_batch(
            sequences, lists.take(rows), max_history_length=max_history_length
        )
        for values, part in zip(found, run(batch), strict=True):
            values[rows] = part.numpy()
    return found


def slice_index(
    model: RankingModel, sequences: EventSequences, lists: RankingLists
) -> np.ndarray:
    """Returns int32 `[num_lists]`: which curve of the calibration is theirs."""
    if model.calibration is None or not lists.num_lists:
        return np.zeros(lists.num_lists, np.int32)
    # The newest event tells whether there is a history.
    batch = make_batch(sequences, lists, max_history_length=1)
    return model.calibration.slice_index(batch.inputs.request).numpy()


def outcome_labels(model: RankingModel, lists: RankingLists) -> np.ndarray:
    """Returns int8 `[num_lists, num_candidates, num_heads]` as training reads them."""
    labels = funnel_labels(tf.constant(lists.labels), model.stages)
    return labels.numpy()


class BestPlace(NamedTuple):
    """The place of shown lists that probabilities without position bias are about.

    Attributes:
        position: The smallest logged place; 0 where none is known.
        propensity: The largest logged propensity; 0 where none is known.
    """

    position: int
    propensity: float


def best_place(lists: RankingLists) -> BestPlace:
    """Finds the best place that a known item had in these lists."""
    real, position, propensity = real_cells(lists), 0, 0.0
    if lists.positions is not None:
        known = lists.positions[real & (lists.positions > 0)]
        position = int(known.min()) if len(known) else 0
    if lists.propensities is not None:
        propensity = float(np.nanmax(lists.propensities[real], initial=0.0))
    return BestPlace(position, propensity)


def real_cells(lists: RankingLists) -> np.ndarray:
    """Returns bool `[num_lists, num_candidates]`: no padding, nothing filled up."""
    return (lists.candidate_index > 0) & (lists.retrieval_scores > _HIDDEN)


def counted_cells(
    lists: RankingLists, *, position_bias: str, best: BestPlace | None = None
) -> np.ndarray:
    """Returns bool `[num_lists, num_candidates]`: what the probability is about.

    Real candidates. Where the model takes the place out of its probabilities, they
    are those in the best place: of shown lists only these candidates count. What is
    said of order is about all of them, see `real_cells`.

    Args:
        lists: Retrieved or shown.
        position_bias: As `ranking.position_bias`.
        best: The best place; None: that of these lists.
    """
    cells = real_cells(lists)
    best = best_place(lists) if best is None else best
    if position_bias == "examination" and lists.positions is not None:
        cells &= (lists.positions == best.position) & (lists.positions > 0)
    if position_bias == "propensity" and lists.propensities is not None:
        cells &= lists.propensities >= _NEAR_BEST * best.propensity
        cells &= lists.propensities > 0.0
    return cells


def head_cells(labels: np.ndarray, cells: np.ndarray, head: int) -> np.ndarray:
    """Returns the flat places of the candidates whose outcome of a head is known."""
    return np.flatnonzero(cells & (labels[..., head] != UNDEFINED_LABEL))
