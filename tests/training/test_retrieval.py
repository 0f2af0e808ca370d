import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import make_sequences, noise, write_prepared
from tests.training.conftest import make_config
from tfrec.data.store import PreparedDataset
from tfrec.evaluation.evaluate import validation_metric
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import build_queries
from tfrec.features.item_table import build_item_table
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.text.shop_texts import ShopTexts
from tfrec.text_config import TextConfig
from tfrec.training.finetuning import finetune_retrieval
from tfrec.training.fitting import restore_weights
from tfrec.training.input import make_builder
from tfrec.training.retrieval import (
    compile_retrieval_model,
    hidden_search_share,
    train_retrieval,
)


def train(dataset: PreparedDataset, path: Path, **changes) -> RetrievalModel:
    config = make_config(path, **changes)
    tf.keras.utils.set_random_seed(0)
    model, _ = train_retrieval(
        config,
        dataset,
        build_item_table(dataset),
        path=path / "run" / "retrieval",
        strategy=tf.distribute.get_strategy(),
    )
    return model


def hit_rate_at_1(model: RetrievalModel, dataset: PreparedDataset) -> float:
    sequences = dataset.load_sequences()
    queries = build_queries(sequences, dataset.schema, split="test", targets="next")
    scorer = RetrievalScorer(TrainedRecommender(model, None, num_candidates=1))
    metrics = validation_metric(
        scorer, sequences, queries, "HR@1", num_items=model.num_items
    )
    return metrics["HR@1"]


def test_next_item_of_a_cycle_is_learned_without_error(cycle_dataset, tmp_path):
    model = train(cycle_dataset, tmp_path)
    assert hit_rate_at_1(model, cycle_dataset) == 1.0


def test_noise_stays_noise(tmp_path):
    dataset = write_prepared(tmp_path / "prepared", noise(num_users=300))
    changes = {"training": {"retrieval": {"max_epochs": 2}}}
    hit_rate = hit_rate_at_1(train(dataset, tmp_path, **changes), dataset)
    # 1/8 by chance; three standard deviations of 300 draws are .057.
    assert hit_rate == pytest.approx(1 / 8, abs=0.057)


def test_collapsed_model_never_hits(cycle_dataset, tmp_path):
    changes = {"training": {"retrieval": {"max_epochs": 1}}}
    model = train(cycle_dataset, tmp_path, **changes)
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))
    assert hit_rate_at_1(model, cycle_dataset) == 0.0


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_best_epoch_is_that_of_the_whole_catalogue_ties_against_the_model(
    exclude_seen, tmp_path, monkeypatch
):
    num_items = num_users = 200  # So many that training meets every item.
    sequences = noise(num_items, num_users=num_users)
    dataset = write_prepared(tmp_path / "prepared", sequences, num_items=num_items)
    told: dict[str, Any] = {}  # What decides about epochs, without any.
    monkeypatch.setattr(
        "tfrec.training.retrieval.fit", lambda *_, **given: told.update(given) or {}
    )
    settings = {"selection_metric": "NDCG@100", "exclude_seen": exclude_seen}
    model = train(dataset, tmp_path, evaluation=settings)
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))
    bias = -(np.arange(num_items) // 4)  # Always four items with one score.
    model.bias_rows.assign(np.concatenate([[0, 0], bias]))
    gains = []
    for history in np.split(sequences.item_index - 2, num_users):
        past, target = set(history[:-2]), history[-2]
        hidden = past if exclude_seen else set()
        rivals = set(range(num_items)) - hidden - {target}
        rank = 1 + sum(bias[item] >= bias[target] for item in rivals)
        is_hit = rank <= 100 and target not in hidden
        gains.append(1 / math.log2(rank + 1) if is_hit else 0.0)
    assert told["validate"]()["NDCG@100"] == pytest.approx(np.mean(gains))


def test_sampled_softmax_learns_the_cycle_too(cycle_dataset, tmp_path):
    retrieval = make_config(tmp_path).retrieval.model_dump()
    settings = {**retrieval, "loss": "sampled_softmax", "num_sampled_negatives": 16}
    model = train(cycle_dataset, tmp_path, retrieval=settings)
    assert hit_rate_at_1(model, cycle_dataset) >= 0.9


def test_data_without_a_training_target_say_so(tmp_path):
    sequences = make_sequences([[0, 1]], splits=[[1, 2]])
    config = make_config(tmp_path)
    with pytest.raises(ValueError, match="nothing to learn from.*'train'"):
        make_builder(config, sequences, splits=("train",), num_replicas=1)


def test_same_seed_gives_the_same_model(cycle_dataset, tmp_path):
    changes = {"training": {"retrieval": {"max_epochs": 2}}}
    models = [train(cycle_dataset, tmp_path / str(i), **changes) for i in range(2)]
    for first, second in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_finetuning_of_a_continued_run_is_that_of_one_never_killed(
    cycle_dataset, tmp_path
):
    config = make_config(
        tmp_path,
        training={
            "retrieval": {"max_epochs": 2, "min_steps_per_epoch": 8},
            "finetune_epochs": 1,
        },
    )
    path = tmp_path / "run" / "retrieval"
    table, strategy = build_item_table(cycle_dataset), tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(0)
    whole, _ = train_retrieval(
        config, cycle_dataset, table, path=path, strategy=strategy
    )
    continued = compile_retrieval_model(config, cycle_dataset, table, strategy=strategy)
    restore_weights(continued, path / "best")
    before = [weight.numpy() for weight in whole.trainable_variables]
    for model in (whole, continued):
        finetune_retrieval(config, cycle_dataset, model, strategy=strategy)
    pairs = zip(whole.trainable_variables, continued.trainable_variables, strict=True)
    for first, second in pairs:
        # The moments of Adam come back too, or the steps would differ.
        np.testing.assert_allclose(first, second, atol=1e-6, err_msg=first.name)
    assert np.abs(before[0] - whole.trainable_variables[0].numpy()).max() > 1e-4


def test_data_without_validation_targets_say_so_before_training(tmp_path):
    sequences = make_sequences([[0, 1, 2]] * 4, splits=[[0, 0, 2]] * 4)
    dataset = write_prepared(tmp_path / "prepared", sequences)
    with pytest.raises(ValueError, match=r"nothing to validate on.*\['event'\]"):
        train(dataset, tmp_path)
    assert not (tmp_path / "run" / "retrieval" / "best").exists()


def test_replicas_share_the_global_batch_and_workers_the_users(cycle_dataset, tmp_path):
    config = make_config(tmp_path)

    def batch_tokens(shard: int, num_workers: int, num_replicas: int) -> int:
        own = cycle_dataset.load_sequences(shard=shard, num_shards=num_workers)
        return make_builder(
            config,
            own,
            splits=("train",),
            num_replicas=num_replicas,
            num_workers=num_workers,
        ).batch_tokens

    # 60 users x 8 training events in 8 steps; half of it on each of two replicas,
    # wherever they are.
    assert batch_tokens(0, 1, 1) == 60
    assert batch_tokens(0, 1, 2) == 30
    assert [batch_tokens(worker, 2, 2) for worker in (0, 1)] == [30, 30]


def test_place_of_a_full_history_is_learned(cycle_dataset, tmp_path):
    """A request with a full history asks from the last place there is."""
    sequences = cycle_dataset.load_sequences()
    config = make_config(tmp_path, retrieval={"max_history_length": 5})
    batches = make_builder(config, sequences, splits=("train",), num_replicas=1)
    asked = {
        int(batch.tokens.positions.reshape(-1)[place])
        for batch in batches.epoch(0)
        for place in batch.target_tokens
    }
    assert max(asked) == 5


def test_small_data_get_small_batches(cycle_dataset, tmp_path):
    sequences = cycle_dataset.load_sequences()
    config = make_config(tmp_path)
    batches = make_builder(config, sequences, splits=("train",), num_replicas=1)
    # 60 users x 8 training events in at least 8 steps.
    assert batches.num_batches() >= 8
    assert dataclasses.is_dataclass(batches.targets)


def test_pseudo_searches_are_shown_for_their_share(tmp_path):
    text = TextConfig(encoder="scratch", pseudo_search_share=0.25)
    config = make_config(tmp_path).model_copy(update={"text": text})
    own = cast(ShopTexts, SimpleNamespace(pseudo_searches=None))
    made = cast(ShopTexts, SimpleNamespace(pseudo_searches=np.array(["lamp"])))
    assert hidden_search_share(config, made) == 0.75
    assert hidden_search_share(config, own) == config.retrieval.query_text_dropout
    assert config.retrieval.query_text_dropout != 0.75
