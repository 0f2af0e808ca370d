"""Builds and trains the ranking model on mined candidates and impressions."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig, RankingConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.features.item_statistics import measure_items
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.text.reader import TextReader
from tfrec.training.calibration import fit_calibration
from tfrec.training.callbacks import EpochHook
from tfrec.training.fitting import (
    average_weights,
    fit,
    make_optimizer,
    save_weights,
)
from tfrec.training.head_lists import Lists, Population, find_populations
from tfrec.training.list_sources import mean_log_dwell, prepare_sources
from tfrec.training.mining import impression_lists, mine_candidates
from tfrec.training.number_edges import measure_numbers
from tfrec.training.ranking_batches import RankingBatches
from tfrec.training.ranking_lists import RankingLists
from tfrec.training.ranking_validation import RankingValidator
from tfrec.training.retrieval import context_sizes

_LOGGER = logging.getLogger(__name__)


def build_ranking_model(
    config: ExperimentConfig,
    settings: RankingConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
) -> RankingModel:
    """Builds the model with all its variables."""
    dim = config.retrieval.embedding_dim
    model = RankingModel(
        settings,
        config.experiment_schema,
        item_table,
        embedding_dim=dim,
        context_sizes=context_sizes(dataset),
    )
    index, one = tf.ones([1, 1], tf.int32), tf.ones([1], tf.int64)
    context = {
        name: tf.ones([1], tf.int32 if size else tf.float32)
        for name, size in context_sizes(dataset).items()
    }
    request = Request(index, index, one[None], tf.ones([1, 1]), one, context)
    model(RankingInputs(request, tf.zeros([1, dim]), index, tf.zeros([1, 1])))
    return model


def train_ranking(
    config: ExperimentConfig,
    settings: RankingConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    retrieval: RetrievalModel,
    *,
    path: Path,
    strategy: tf.distribute.Strategy,
    text_reader: TextReader | None = None,
    after_epoch: EpochHook | None = None,
) -> tuple[RankingModel, dict[str, Any]]:
    """Trains on lists of some validation users; others pick the best epoch.

    The others also calibrate it, with the level of all: then the probabilities are
    right, see `tfrec.training.calibration`.

    Returns:
        The model with the weights of the best epoch, and its history, to which
        `retrieval_order` adds what the order of retrieval reaches on the same
        held-out lists, `populations` which lists each head is about,
        `calibrated_order` what calibrated probabilities reach, and `calibration` how
        each head was calibrated.
    """
    sequences = dataset.load_sequences()
    recommender = TrainedRecommender(
        retrieval,
        None,
        num_candidates=settings.num_candidates,
        text_reader=text_reader,
    )
    sources, held_out, all_lists = find_lists(
        config,
        dataset,
        sequences,
        recommender,
        holdout_share=settings.holdout_share,
    )
    stage = config.training.ranking
    with strategy.scope():
        model = build_ranking_model(config, settings, dataset, item_table)
        average_weights(model, stage.average_decay)
        model.compile(
            optimizer=make_optimizer(stage.optimizer, model.trainable_variables)
        )
    if settings.dwell_weight > 0:
        model.set_mean_dwell(mean_log_dwell(sources))
    model.set_frozen(
        retrieval.item_vectors(),
        measure_items(sequences, config.experiment_schema, item_table.num_items),
    )
    if settings.number_bins:
        model.set_number_edges(
            measure_numbers(
                model,
                sequences,
                sources,
                max_history_length=config.max_history_length,
                seed=config.seed,
            )
        )
    num_replicas = strategy.num_replicas_in_sync
    batches = make_batches(config, sequences, sources, num_replicas=num_replicas)
    validator = RankingValidator(
        sequences,
        held_out["retrieved"],
        model,
        metric=config.evaluation.selection_metric,
        max_history_length=config.max_history_length,
    )
    history: dict[str, Any] = fit(
        model,
        batches.distributed(strategy, model),
        name="ranking",
        path=path,
        stage=stage,
        steps_per_epoch=max(batches.num_batches // num_replicas, 1),
        metric=config.evaluation.selection_metric,
        validate=validator,
        after_epoch=after_epoch,
    )
    history["retrieval_order"] = validator.retrieval_order()
    populations = find_populations(config, sources[1:])
    history["populations"] = populations
    if model.calibration is None:
        return model, history
    about = fit_calibration(
        config,
        settings,
        sequences,
        model,
        held_out,
        populations=populations,
        all_lists=all_lists,
    )
    save_weights(model, path / "best")
    calibrated = validator.calibrated_order()
    return model, {**history, "calibration": about, "calibrated_order": calibrated}


class FoundLists(NamedTuple):
    """Lists of the validation split.

    Attributes:
        sources: To learn from, by origin.
        held_out: All those of users who are not learned from.
        all_lists: All those of all users.
    """

    sources: list[RankingLists]
    held_out: Lists
    all_lists: Lists


def find_lists(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    sequences: EventSequences,
    recommender: TrainedRecommender,
    *,
    holdout_share: float,
) -> FoundLists:
    """Finds the lists of the validation split.

    Raises:
        ValueError: If there is nothing to learn from, or nothing held out.
    """
    mined = mine_candidates(config, sequences, recommender)
    rng = np.random.default_rng([config.seed, 1])
    held_out = rng.random(sequences.num_users) < holdout_share
    is_held_out = held_out[mined.user_rows]
    all_lists: dict[Population, RankingLists] = {"retrieved": mined}
    holdout: dict[Population, RankingLists] = {
        "retrieved": mined.take(np.flatnonzero(is_held_out))
    }
    sources = [with_positives(mined.take(np.flatnonzero(~is_held_out)))]
    impressions = dataset.load_impressions()
    if impressions is not None and not config.experiment_schema.shown_head_types:
        _warn_useless(len(impressions.split))
    elif impressions is not None:
        shown = impression_lists(config, sequences, impressions, recommender)
        if shown.num_lists:
            is_held_out = held_out[shown.user_rows]
            sources.append(shown.take(np.flatnonzero(~is_held_out)))
            all_lists["shown"] = shown
            holdout["shown"] = shown.take(np.flatnonzero(is_held_out))
    _check_lists(sources[0], holdout["retrieved"])
    return FoundLists(prepare_sources(config, sequences, sources), holdout, all_lists)


def make_batches(
    config: ExperimentConfig,
    sequences: EventSequences,
    sources: list[RankingLists],
    *,
    num_replicas: int,
) -> RankingBatches:
    """Builds the batches of one replica."""
    stage = config.training.ranking
    num_candidates = sum(source.candidate_index.size for source in sources)
    batch_size = min(
        stage.global_batch_size, num_candidates // stage.min_steps_per_epoch
    )
    return RankingBatches(
        sequences,
        sources,
        max_history_length=config.max_history_length,
        batch_candidates=batch_size // num_replicas,
        seed=config.seed,
    )


def with_positives(lists: RankingLists) -> RankingLists:
    """Keeps the lists that have a positive: without one there is no order to learn.

    Lists whose positive was not retrieved stay out: at serving the model never
    sees such a candidate either.
    """
    return lists.take(np.flatnonzero(lists.relevant.any(axis=1)))


def _warn_useless(num_shown_lists: int) -> None:
    _LOGGER.warning(
        "The %d impression lists of the log teach ranking nothing: they tell of heads "
        "that are no target, and every head is one. Name a type in "
        "`data.head_event_types` that is not among `data.target_event_types`, such as "
        "the click, to learn from them.",
        num_shown_lists,
    )


def _check_lists(train: RankingLists, holdout: RankingLists) -> None:
    if not train.num_lists or not holdout.num_lists:
        raise ValueError(
            "There are too few validation targets to train ranking: "
            f"{train.num_lists} lists with a positive to learn from, "
            f"{holdout.num_lists} held out. Set `ranking: null`, lengthen "
            "`data.split.validation_days`, or raise `ranking.num_candidates`."
        )
