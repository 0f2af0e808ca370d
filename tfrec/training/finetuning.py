"""Makes a trained retrieval model know the newest events, too."""

import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.text.shop_texts import ShopTexts
from tfrec.training.callbacks import ProgressBar
from tfrec.training.fitting import plan_steps, restart_schedules, take_averages
from tfrec.training.input import distributed_batches
from tfrec.training.retrieval import count_transitions, refreshes


def finetune_retrieval(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    model: RetrievalModel,
    *,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None = None,
) -> None:
    """Trains `finetune_epochs` more on training and validation events.

    The best epoch was chosen before; nothing is chosen here. It makes the model
    know what is new since the validation began, as the baselines do.

    Args:
        config: The run's configuration.
        dataset: Where the events are.
        model: Compiled, with the weights and the optimizer of its best epoch.
        strategy: That of the model.
        texts: Those that the model was built with.
    """
    splits = ("train", "validation")
    batches, steps = distributed_batches(
        config,
        dataset,
        strategy,
        splits=splits,
        first_epoch=lambda: int(model.epochs_done.numpy()),
        texts=texts,
    )
    sequences = dataset.load_sequences()
    count_transitions(config, sequences, model, splits=splits)
    restart_schedules(model)
    plan_steps(model, config.finetune_epochs * steps)
    bar = ProgressBar(
        "retrieval on the newest events",
        metric=config.evaluation.selection_metric,
        num_epochs=config.finetune_epochs,
        steps=steps,
        continues=False,
    )
    more = refreshes(config, sequences, model, splits, texts)
    try:
        model.fit(
            batches,
            epochs=config.finetune_epochs,
            steps_per_epoch=steps,
            callbacks=[*more, bar],
            verbose=0,
        )
    finally:
        bar.bar.stop()
    take_averages(model)
    model.refresh_texts()
