"""Mixes lists of both origins, and adds what the losses ask for."""

from dataclasses import replace

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences
from tfrec.models.ranking_model import UNDEFINED_LABEL
from tfrec.training.later_events import add_dwell, drop_false_negatives
from tfrec.training.ranking_lists import RankingLists


def prepare_sources(
    config: ExperimentConfig, sequences: EventSequences, sources: list[RankingLists]
) -> list[RankingLists]:
    """Mixes retrieved and shown lists as configured, and completes both.

    A list teaches the heads that it is about, see `ranking.unshown`.

    Lists without any known outcome are left out: they would be steps without a loss.

    Args:
        config: Of the experiment; without `ranking` the sources stay as they are.
        sequences: All events.
        sources: Retrieved lists, then those that were shown, if there are any.

    Raises:
        ValueError: If a position bias is to be removed that the log does not tell.
    """
    settings = config.ranking
    if settings is None:
        return sources
    sources = [_with_outcomes(lists) for lists in sources]
    sources = _mix(sources, settings.impression_share, seed=config.seed)
    if settings.unshown == "unknown":
        sources = _teach_own_heads(config, sources)
    _check_bias(sources, settings.position_bias)
    if settings.false_negative_days > 0:
        schema = config.experiment_schema
        sources = [
            _with_outcomes(
                drop_false_negatives(
                    lists, sequences, schema, days=settings.false_negative_days
                )
            )
            for lists in sources
        ]
    if settings.dwell_weight > 0:
        sources = [add_dwell(lists, sequences) for lists in sources]
    return [_with_places(lists, settings.position_bias) for lists in sources]


def mean_log_dwell(sources: list[RankingLists]) -> float:
    """Returns the mean of log(1 + seconds) over the known dwells.

    Raises:
        ValueError: If none is known.
    """
    dwell = [s.dwell_seconds for s in sources if s.dwell_seconds is not None]
    known = np.concatenate([seconds[seconds > 0.0] for seconds in dwell])
    if not len(known):
        raise ValueError(
            "`ranking.dwell_weight` above 0 needs candidates with a known dwell. "
            "Received: none in the validation split. Set it to 0, or check "
            "`data.event_columns.dwell_seconds`."
        )
    return float(np.log1p(known).mean())


def happened(sources: list[RankingLists], *, num_heads: int) -> np.ndarray:
    """Returns bool `[num_heads]`: whether a real candidate of a list had the event."""
    found = np.zeros(num_heads, bool)
    for lists in sources:
        real = lists.candidate_index > 0
        found |= ((lists.labels > 0) & real[..., None]).any(axis=(0, 1))
    return found


def _with_outcomes(lists: RankingLists) -> RankingLists:
    """Keeps the lists that hold a real candidate with a label that teaches."""
    defined = lists.labels != UNDEFINED_LABEL
    if lists.taught is not None:
        defined &= lists.taught[:, None]
    defined = defined.any(axis=2)
    kept = (defined & (lists.candidate_index > 0)).any(axis=1)
    return lists if kept.all() else lists.take(np.flatnonzero(kept))


def _mix(
    sources: list[RankingLists], share: float | None, *, seed: int
) -> list[RankingLists]:
    """Draws shown lists so that they are at most `share` of all lists."""
    if share is None or len(sources) < 2:
        return sources
    retrieved, shown = sources
    wanted = int(share / (1.0 - share) * retrieved.num_lists)
    if wanted < shown.num_lists:
        order = np.random.default_rng([seed, 2]).permutation(shown.num_lists)
        shown = shown.take(np.sort(order[:wanted]))
    return [retrieved, shown]


def _teach_own_heads(
    config: ExperimentConfig, sources: list[RankingLists]
) -> list[RankingLists]:
    """Lets retrieved lists teach no head that shown lists teach.

    As shown lists teach none of a target. A head without an event in any shown list
    goes on learning from retrieved ones; and they teach every head where no head is a
    target, for it is them that are ranked.
    """
    retrieved, *shown = sources
    schema = config.experiment_schema
    heads = schema.head_event_types or schema.target_event_types
    of_shown = np.isin(heads, schema.shown_head_types)
    taken = of_shown & happened(shown, num_heads=len(heads))
    if not taken.any() or of_shown.all():
        return sources
    every = np.ones(len(heads), bool)
    return [
        _taught(retrieved, ~taken),
        *(_taught(lists, every) for lists in shown),
    ]


def _taught(lists: RankingLists, heads: np.ndarray) -> RankingLists:
    taught = np.broadcast_to(heads, (lists.num_lists, len(heads)))
    return _with_outcomes(replace(lists, taught=taught))


def _check_bias(sources: list[RankingLists], position_bias: str) -> None:
    if position_bias == "none":
        return
    shown = sources[1] if len(sources) > 1 else None
    if position_bias == "examination":
        column, values = "position", None if shown is None else shown.positions
        known = values is not None and bool((values > 1).any())
    else:
        column, values = "propensity", None if shown is None else shown.propensities
        known = values is not None and bool((values > 0.0).any())  # NaN is not.
    if not known:
        raise ValueError(
            f"`ranking.position_bias={position_bias}` needs shown lists with "
            f"`data.event_columns.{column}` and known items. Received: none in the "
            "validation split. Name the columns of impressions, or set "
            "`position_bias: none`."
        )


def _with_places(lists: RankingLists, position_bias: str) -> RankingLists:
    """Keeps of places what is learned from; all sources get the same fields."""
    positions, propensities = None, None
    shape = lists.candidate_index.shape
    if position_bias == "examination":
        unknown = np.zeros(shape, np.int32)
        positions = unknown if lists.positions is None else lists.positions
    if position_bias == "propensity":
        nothing = np.full(shape, np.nan, np.float32)
        propensities = nothing if lists.propensities is None else lists.propensities
    return replace(lists, positions=positions, propensities=propensities)
