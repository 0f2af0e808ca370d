"""A whole run: prepare, train both models, evaluate, write everything down."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrec.config import REPORT_SETTINGS, ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset
from tfrec.features.item_statistics import measure_items
from tfrec.features.item_table import ItemTable, build_item_table
from tfrec.models.final_order import own_final_order
from tfrec.models.ranking_model import RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.run_lock import run_lock
from tfrec.run_record import (
    CONFIG_FILE,
    FINISHED_FILE,
    RANKING,
    RETRIEVAL,
    config_differences,
    write_json,
    write_run_record,
)
from tfrec.text.shop_texts import ShopTexts
from tfrec.training.callbacks import EpochHook
from tfrec.training.data_warnings import warn_of_data
from tfrec.training.evaluation import evaluate_run
from tfrec.training.finetuning import finetune_retrieval
from tfrec.training.fitting import restore_weights, save_weights
from tfrec.training.ranking import build_ranking_model, train_ranking
from tfrec.training.retrieval import (
    build_retrieval_model,
    compile_retrieval_model,
    train_retrieval,
)
from tfrec.training.run_texts import texts_of_trained, texts_to_train_on
from tfrec.training.strategies import make_strategy

TIMINGS_FILE = "timings.json"


def train(config: ExperimentConfig) -> dict[str, Any]:
    """Prepares what is not prepared, trains what is not trained, and evaluates.

    Called again after a kill it goes on where it was: finished stages are read,
    an unfinished one continues behind its last whole epoch.

    Returns:
        What `metrics.json` holds, see `docs/evaluation.md`.

    Raises:
        ValueError: If the run's folder holds another configuration or is in use by
            another process, or the data are too small to learn from.
        TrainingDivergedError: If a loss is no longer a number.
    """
    path = config.run_path
    check_same_run(config, path)
    with run_lock(path):
        strategy = make_strategy(config.training)
        dataset = prepare(config)
        warn_of_data(config, dataset)
        write_run_record(config)
        recommender = train_models(config, dataset, strategy)
        with Timings(path / TIMINGS_FILE).measure("evaluate"):
            return evaluate_run(config, dataset, recommender)


def train_models(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    strategy: tf.distribute.Strategy,
) -> TrainedRecommender:
    """Trains what is not trained of a run; the weights are kept in its folder."""
    tf.keras.utils.set_random_seed(config.seed)
    timings = Timings(config.run_path / TIMINGS_FILE)
    with timings.measure("text"):
        texts = texts_to_train_on(config, dataset)
    # Again: an encoder that was trained just now has drawn numbers, a kept one has not.
    tf.keras.utils.set_random_seed(config.seed)
    if config.training.mixed_precision:
        # Behind the texts: the exported encoder computes in 32 bits, as they do.
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    item_table = build_item_table(dataset, text=None if texts is None else texts.items)
    with timings.measure(RETRIEVAL):
        retrieval = retrieval_stage(config, dataset, item_table, strategy, texts)
    with timings.measure(RANKING):
        ranking = ranking_stage(config, dataset, item_table, retrieval, strategy, texts)
    with timings.measure("finetune"):
        _finetune_stage(config, dataset, retrieval, ranking, strategy, texts)
    return _join(config, dataset, retrieval, ranking, texts)


class Timings:
    """Wall seconds of the stages of a run, also over kills and continuations.

    Args:
        path: The JSON file; a stage that was only read again adds next to nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, float] = (
            json.loads(path.read_text()) if path.is_file() else {}
        )

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage, also if the block fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            spent = self.seconds.get(stage, 0.0) + time.monotonic() - started
            self.seconds[stage] = round(spent, 2)
            write_json(self.path, self.seconds)


def load_recommender(
    run_dir: Path,
) -> tuple[TrainedRecommender, PreparedDataset, ExperimentConfig]:
    """Reads the trained models of a run.

    Raises:
        FileNotFoundError: If the run, or its text encoder, is not there, or the run
            is not finished.
        ValueError: If the text encoder is another than that of the training.
    """
    run_dir = Path(run_dir)
    if not (run_dir / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"No run in '{run_dir}': {CONFIG_FILE} is missing. "
            "Run `python -m tfrec.train --config ...` first."
        )
    config = read_config(run_dir / CONFIG_FILE)
    config = config.model_copy(update={"run_dir": run_dir})
    dataset = PreparedDataset(config.prepared_path)
    sequences = dataset.load_sequences()
    texts = texts_of_trained(config, dataset, sequences)
    item_table = build_item_table(dataset, text=None if texts is None else texts.items)
    stages = [RETRIEVAL] if config.ranking is None else [RETRIEVAL, RANKING]
    for stage in stages:
        if not (run_dir / stage / FINISHED_FILE).is_file():
            raise FileNotFoundError(
                f"The {stage} model in '{run_dir}' is not trained to its end. Run "
                f"`python -m tfrec.train --config {run_dir / CONFIG_FILE}` again; "
                "it goes on where it was."
            )
    retrieval = build_retrieval_model(config, dataset, item_table, texts=texts)
    restore_weights(retrieval, run_dir / RETRIEVAL / "best")
    ranking = None
    if config.ranking is not None:
        ranking = build_ranking_model(config, config.ranking, dataset, item_table)
        restore_weights(ranking, run_dir / RANKING / "best")
    return _join(config, dataset, retrieval, ranking, texts), dataset, config


def _join(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    retrieval: RetrievalModel,
    ranking: RankingModel | None,
    texts: ShopTexts | None,
) -> TrainedRecommender:
    return TrainedRecommender(
        retrieval,
        ranking,
        num_candidates=config.ranking.num_candidates if config.ranking else 1,
        text_reader=None if texts is None else texts.reader,
        final_order=own_final_order(config, dataset),
    )


def check_same_run(config: ExperimentConfig, path: Path) -> None:
    """Checks that what was trained in a folder is of this configuration.

    Raises:
        ValueError: If it is of another one, with what differs.
    """
    if not (path / CONFIG_FILE).is_file() or not (path / RETRIEVAL).exists():
        return  # What failed before anything was trained may be corrected.
    # Not the folder itself: a run may be moved, or named by another path. What is
    # searched elsewhere does not change this run, nor does what is reported of it.
    found = read_config(path / CONFIG_FILE)
    reported = [f"evaluation.{name}" for name in REPORT_SETTINGS]
    ignored = ("run_dir", "tune", *reported)
    different = config_differences(config, found, ignored=ignored)
    if different:
        more = f" and {len(different) - 5} more" if len(different) > 5 else ""
        raise ValueError(
            f"'{path}' holds a run of another configuration: "
            f"{', '.join(different[:5])}{more}. Choose another `name` or `run_dir`, or "
            "delete the folder."
        )


def retrieval_stage(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None,
    *,
    after_epoch: EpochHook | None = None,
) -> RetrievalModel:
    """Returns the trained retrieval model of a run, training what is missing."""
    path = config.run_path / RETRIEVAL
    if (path / FINISHED_FILE).is_file():
        model = compile_retrieval_model(
            config, dataset, item_table, strategy=strategy, texts=texts
        )
        restore_weights(model, path / "best")
        return model
    model, history = train_retrieval(
        config,
        dataset,
        item_table,
        path=path,
        strategy=strategy,
        texts=texts,
        after_epoch=after_epoch,
    )
    _finish(path, history)
    return model


def ranking_stage(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    retrieval: RetrievalModel,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None,
    *,
    after_epoch: EpochHook | None = None,
) -> RankingModel | None:
    """Returns the trained ranking model of a run, training what is missing."""
    if config.ranking is None:
        return None
    path = config.run_path / RANKING
    if (path / FINISHED_FILE).is_file():
        with strategy.scope():
            model = build_ranking_model(config, config.ranking, dataset, item_table)
        restore_weights(model, path / "best")
        return model
    model, history = train_ranking(
        config,
        config.ranking,
        dataset,
        item_table,
        retrieval,
        path=path,
        strategy=strategy,
        text_reader=None if texts is None else texts.reader,
        after_epoch=after_epoch,
    )
    _finish(path, history)
    return model


def _finetune_stage(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    retrieval: RetrievalModel,
    ranking: RankingModel | None,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None,
) -> None:
    done = config.run_path / "finetuned.json"
    if config.finetune_epochs == 0 or done.is_file():
        return
    finetune_retrieval(config, dataset, retrieval, strategy=strategy, texts=texts)
    if ranking is not None:
        # The vectors moved a little, and the newest events count from now on.
        statistics = measure_items(
            dataset.load_sequences(),
            config.experiment_schema,
            retrieval.num_items,
            splits=("train", "validation"),
        )
        ranking.set_frozen(retrieval.item_vectors(), statistics)
        save_weights(ranking, config.run_path / RANKING / "best")
    # Last: killed before, the run starts again from the weights of the best epoch.
    save_weights(retrieval, config.run_path / RETRIEVAL / "best")
    write_json(done, {"epochs": config.finetune_epochs})


def _finish(path: Path, history: dict[str, Any]) -> None:
    write_json(path / FINISHED_FILE, history)
