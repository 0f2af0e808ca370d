from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import make_sequences, write_prepared
from tests.training.conftest import configure_shop, make_config
from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.data.store import TEST, Impressions, PreparedDataset
from tfrec.features.item_table import build_item_table
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.fitting import restore_weights
from tfrec.training.head_lists import find_evaluation_lists
from tfrec.training.mining import mine_candidates
from tfrec.training.ranking import (
    build_ranking_model,
    find_lists,
    train_ranking,
    with_positives,
)
from tfrec.training.ranking_batches import RankingBatches
from tfrec.training.retrieval import RetrievalValidator, build_retrieval_model


def configure(path: Path, **stage: Any) -> ExperimentConfig:
    return make_config(
        path,
        ranking={"num_candidates": 8, "dropout": 0.0, "holdout_share": 0.4},
        training={"ranking": {"min_steps_per_epoch": 6, "max_epochs": 8, **stage}},
    )


def untrained(config: ExperimentConfig, dataset: PreparedDataset) -> TrainedRecommender:
    tf.keras.utils.set_random_seed(0)
    model = build_retrieval_model(config, dataset, build_item_table(dataset))
    return TrainedRecommender(model, None, num_candidates=8)


def train(config: ExperimentConfig, dataset: PreparedDataset, path: Path) -> Any:
    assert config.ranking is not None
    return train_ranking(
        config,
        config.ranking,
        dataset,
        build_item_table(dataset),
        untrained(config, dataset).retrieval,
        path=path,
        strategy=tf.distribute.get_strategy(),
    )


def test_ranking_learns_what_retrieval_does_not_know(cycle_dataset, tmp_path):
    """Retrieval is untrained; the next item of the ring is for ranking to find."""
    fast = {"learning_rate": 0.02, "warmup_steps": 0}
    config = configure(tmp_path, optimizer=fast)
    _, history = train(config, cycle_dataset, tmp_path / "ranking")
    start = history["retrieval_order"]["NDCG@5"]
    assert start < 0.7
    assert max(history["validation_NDCG@5"]) > start + 0.25


def test_epoch_holds_every_list_once_in_an_order_of_its_own(cycle_dataset, tmp_path):
    config = configure(tmp_path)
    sequences = cycle_dataset.load_sequences()
    recommender = untrained(config, cycle_dataset)
    lists = mine_candidates(config, sequences, recommender)
    assert lists.num_lists == 60
    batches = RankingBatches(
        sequences,
        [lists.take(np.arange(40)), lists.take(np.arange(40, 60))],
        max_history_length=5,
        batch_candidates=100,  # Twelve lists of eight.
        seed=3,
    )

    def embeddings(epoch: int) -> np.ndarray:
        parts = list(batches.epoch(epoch))
        assert len(parts) == batches.num_batches == 4 + 2
        return np.concatenate([part.inputs.query_embeddings for part in parts])

    first, again, other = embeddings(0), embeddings(0), embeddings(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    for found in (first, other):
        np.testing.assert_array_equal(
            np.sort(found, axis=0), np.sort(lists.query_embeddings, axis=0)
        )


def test_batch_holds_the_history_before_each_list(cycle_dataset, tmp_path):
    config = configure(tmp_path)
    sequences = cycle_dataset.load_sequences()
    lists = mine_candidates(config, sequences, untrained(config, cycle_dataset))
    batches = RankingBatches(
        sequences, [lists], max_history_length=3, batch_candidates=80, seed=0
    )
    for batch in batches.epoch(0):
        last = np.asarray(batch.inputs.request.item_index)[:, -1]
        positive = (np.asarray(batch.labels)[..., 0] == 1).argmax(axis=1)
        rows = np.arange(len(last))
        answers = np.asarray(batch.inputs.candidate_index)[rows, positive]
        # On the ring of eight the answer is the item after the last one read.
        np.testing.assert_array_equal(answers - 2, (last - 2 + 1) % 8)


def test_lists_without_a_retrieved_positive_are_left_out(cycle_dataset, tmp_path):
    config = make_config(tmp_path, ranking={"num_candidates": 2})
    recommender = untrained(config, cycle_dataset)
    recommender.num_candidates = 2
    lists = mine_candidates(config, cycle_dataset.load_sequences(), recommender)
    kept = with_positives(lists)
    found = [bool(row.any()) for row in lists.relevant]
    assert 0 < kept.num_lists == sum(found) < lists.num_lists
    assert kept.relevant.any(axis=1).all()


def test_shown_lists_teach_a_funnel_places_and_dwell(shop, tmp_path):
    config = configure_shop(
        shop,
        tmp_path,
        *("--ranking.task_layers", "mmoe", "--ranking.num_experts", "2"),
        *("--ranking.funnel", "[click, cart, purchase]"),
        *("--ranking.position_bias", "examination", "--ranking.num_positions", "5"),
        *("--ranking.dwell_weight", "0.5", "--ranking.uncertainty_weights", "true"),
        *("--ranking.false_negative_days", "1", "--ranking.impression_share", "0.9"),
        *("--training.ranking.max_epochs", "1"),
    )
    dataset = prepare(config)
    model, history = train(config, dataset, tmp_path / "ranking")
    assert np.isfinite(history["loss"]).all()
    assert model.stages == [1, 2, 3]
    # Away from the start at 1 / k, and not the first place.
    seen = model.objective.examination.seen_probabilities().numpy()
    assert seen[0] == 1.0
    assert (np.abs(seen[1:] - 1 / np.arange(2, 6)) > 1e-4).all()
    # People stay for between a second and five minutes.
    assert np.log1p(1) < float(model.mean_log_dwell) < np.log1p(300)
    assert (model.objective.uncertainty.task_weights().numpy() != 1.0).all()
    assert config.ranking is not None
    again = build_ranking_model(
        config, config.ranking, dataset, build_item_table(dataset)
    )
    restore_weights(again, tmp_path / "ranking" / "best")
    for old, new in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_shown_lists_are_left_out_where_every_head_is_a_target(
    cycle_dataset, tmp_path, monkeypatch, caplog
):
    sequences = cycle_dataset.load_sequences()
    shown = Impressions(
        user_ids=sequences.user_ids[:1],
        timestamps=sequences.timestamps[3:4],
        split=np.ones(1, np.int8),
        offsets=np.array([0, 1]),
        item_index=np.array([4], np.int32),
        position=np.ones(1, np.int32),
        propensity=np.ones(1, np.float32),
        event_type_index=np.array([2], np.int32),
        query_text=np.full(1, "", object),
        context={},
    )
    monkeypatch.setattr(cycle_dataset, "load_impressions", lambda: shown)
    config = configure(tmp_path)
    recommender = untrained(config, cycle_dataset)
    sources, held_out, all_lists = find_lists(
        config, cycle_dataset, sequences, recommender, holdout_share=0.4
    )
    assert len(sources) == 1
    some, everybody = held_out["retrieved"], all_lists["retrieved"]
    assert 0 < some.num_lists < everybody.num_lists
    assert set(some.user_rows) < set(everybody.user_rows)
    assert set(held_out) == {"retrieved"}
    assert "The 1 impression lists of the log teach ranking nothing" in caplog.text
    assert "head_event_types" in caplog.text
    evaluated = find_evaluation_lists(
        config, cycle_dataset, recommender, split=TEST, max_lists=3
    )
    assert set(evaluated) == {"retrieved"}


def test_data_without_validation_events_say_what_to_change(tmp_path):
    sequences = make_sequences([[0, 1, 2]] * 4, splits=[[0, 0, 0]] * 4)
    dataset = write_prepared(tmp_path / "prepared", sequences)
    config = configure(tmp_path)
    model = untrained(config, dataset).retrieval
    with pytest.raises(ValueError, match=r"nothing to validate on.*data\.split"):
        RetrievalValidator(config, sequences, model)
    with pytest.raises(ValueError, match="too few validation targets"):
        train(config, dataset, tmp_path / "ranking")
