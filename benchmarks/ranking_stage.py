"""What all ranking rows of a seed share: data, and retrieval trained once."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tensorflow as tf

from benchmarks.quality import check_same
from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.prepare import prepare
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.features.item_statistics import ItemStatistics, measure_items
from tfrec.features.item_table import ItemTable, build_item_table
from tfrec.models.recommender import TrainedRecommender
from tfrec.run_record import CONFIG_FILE, write_run_record
from tfrec.text.shop_texts import load_shop_texts
from tfrec.training.run import train_models
from tfrec.training.strategies import make_strategy

# What retrieval alone does not depend on.
_NOT_LEARNED = (
    "training.ranking",
    "evaluation.k",
    "evaluation.num_bootstrap",
    "evaluation.baselines",
    "evaluation.oracle_dir",
    "export",
)


@dataclass(frozen=True)
class SeedStage:
    """What all rows of a seed share.

    Attributes:
        config: Of the seed, with the default ranking.
        path: Folder of the seed.
        dataset: The prepared data.
        strategy: Of training.
        item_table: The catalogue.
        base: Retrieval as its best epoch left it: rows are trained on its candidates.
        final: Retrieval as served: the same, or finetuned on the validation events.
    """

    config: ExperimentConfig
    path: Path
    dataset: PreparedDataset
    strategy: tf.distribute.Strategy
    item_table: ItemTable
    base: TrainedRecommender
    final: TrainedRecommender

    @cached_property
    def sequences(self) -> EventSequences:
        """All events."""
        return self.dataset.load_sequences()

    @cached_property
    def queries(self) -> EvaluationQueries:
        """What is asked of every row."""
        return build_queries(
            self.sequences,
            self.config.experiment_schema,
            split="test",
            targets=self.config.evaluation.targets,
        )

    @property
    def is_finetuned(self) -> bool:
        """Whether retrieval as served knows the validation events."""
        return self.final is not self.base

    @cached_property
    def final_statistics(self) -> ItemStatistics:
        """Statistics of items, as a served ranking model has them."""
        splits = ("train", "validation") if self.is_finetuned else ("train",)
        return self._measure(splits)

    @cached_property
    def base_statistics(self) -> ItemStatistics:
        """Statistics of items that ranking is trained with."""
        return self._measure(("train",))

    def _measure(self, splits: tuple[str, ...]) -> ItemStatistics:
        schema, num_items = self.config.experiment_schema, self.item_table.num_items
        return measure_items(self.sequences, schema, num_items, splits=splits)


def prepare_stage(config: ExperimentConfig, *, seed: int, parent: Path) -> SeedStage:
    """Prepares the data and trains retrieval, unless that was done before.

    Raises:
        ValueError: If the folder holds retrieval of another configuration.
    """
    path = parent / f"{config.name}-seed{seed}"
    prepared = config.data.prepared_dir or parent / f"{config.name}-prepared"
    data = config.data.model_copy(update={"prepared_dir": prepared})
    config = config.model_copy(update={"seed": seed, "run_dir": path, "data": data})
    dataset = prepare(config)
    strategy = make_strategy(config.training)
    base = _train_retrieval(config, dataset, strategy, epochs=0)
    epochs, final = config.training.finetune_epochs, base
    if epochs:
        final = _train_retrieval(config, dataset, strategy, epochs=epochs)
    texts = load_shop_texts(config, dataset, dataset.load_sequences())
    item_table = build_item_table(dataset, text=None if texts is None else texts.items)
    return SeedStage(config, path, dataset, strategy, item_table, base, final)


def _train_retrieval(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    strategy: tf.distribute.Strategy,
    *,
    epochs: int,
) -> TrainedRecommender:
    """Trains retrieval, or with `epochs` goes on from a copy of what was trained."""
    path = config.run_path / ("finetuned" if epochs else "retrieval")
    training = config.training.model_copy(update={"finetune_epochs": epochs})
    changes = {"run_dir": path, "ranking": None, "training": training}
    alone = config.model_copy(update=changes)
    if (path / CONFIG_FILE).is_file():
        check_same(alone, read_config(path / CONFIG_FILE), path, ignored=_NOT_LEARNED)
    elif epochs:
        partial = path.with_name(path.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(config.run_path / "retrieval", partial)
        write_run_record(alone, partial)
        partial.rename(path)
    else:
        write_run_record(alone)
    return train_models(alone, dataset, strategy)
