"""Builds and trains the retrieval model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.data.store import TRAIN, EventSequences, PreparedDataset
from tfrec.evaluation.evaluate import validation_metric
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import build_queries
from tfrec.features.cooccurrence import cooccurrence_vectors
from tfrec.features.followers import count_followers
from tfrec.features.item_table import ItemTable
from tfrec.features.tokens import Tokens
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.models.text_sequence import SequencePooling
from tfrec.models.trained_texts import TrainedTexts
from tfrec.schema import AttributeKind
from tfrec.text.reader import TextReader
from tfrec.text.shop_texts import ShopTexts, TextTable
from tfrec.training.callbacks import EpochHook
from tfrec.training.fitting import (
    average_weights,
    fit,
    make_optimizer,
    save_weights,
)
from tfrec.training.input import (
    batch_spec,
    distributed_batches,
    make_builder,
)
from tfrec.training.intents import IntentRefresh
from tfrec.training.new_items import WithoutNewItems, fit_new_item_logit
from tfrec.training.text_matching import fit_text_match

REPEAT_SHARE = 0.01  # Of training targets; from here on `repeat_bias=auto` is on.


def context_sizes(dataset: PreparedDataset) -> dict[str, int]:
    """Returns vocabulary rows per context attribute; 0 for numeric ones."""
    return {
        a.name: 0
        if a.kind == AttributeKind.NUMERIC
        else len(dataset.attribute_vocabularies[a.name])
        for a in dataset.schema.context
    }


def build_retrieval_model(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    *,
    texts: ShopTexts | None = None,
) -> RetrievalModel:
    """Builds the model with all its variables; `texts` as it was trained with."""
    settings = config.retrieval
    repeats = dataset.manifest["repeat_share_train"] >= REPEAT_SHARE
    wanted = settings.repeat_bias == "on" or (
        settings.repeat_bias == "auto" and settings.loss == "softmax" and repeats
    )
    model = RetrievalModel(
        settings,
        config.experiment_schema,
        item_table,
        has_repeat_bias=wanted,
        context_sizes=context_sizes(dataset),
        text_pooling=_text_pooling(config),
        text_session_seconds=_text_session_seconds(config),
        text_match_dim=0 if config.text is None else config.text.match_dim,
        search_texts=_vectors(None if texts is None else texts.searches),
        history_texts=_vectors(None if texts is None else texts.histories),
        search_dropout=hidden_search_share(config, texts),
        trained_texts=_trained_texts(config, texts),
    )
    model(
        _smallest_batch(
            dataset.load_sequences(),
            has_searches=item_table.text is not None,
            reads_histories=model.history_texts is not None,
        )
    )
    return model


def _text_pooling(config: ExperimentConfig) -> SequencePooling | None:
    if config.text is None or config.text.sequence != "multi":
        return None
    return config.text.sequence_pooling


def _text_session_seconds(config: ExperimentConfig) -> float | None:
    if config.text is None or config.text.sequence_unit == "event":
        return None
    return 60.0 * config.data.session_gap_minutes


def hidden_search_share(config: ExperimentConfig, texts: ShopTexts | None) -> float:
    """Returns for which share of the targets training hides the search."""
    if config.text is None or texts is None or texts.pseudo_searches is None:
        return config.retrieval.query_text_dropout
    return 1.0 - config.text.pseudo_search_share


def _trained_texts(
    config: ExperimentConfig, texts: ShopTexts | None
) -> TrainedTexts | None:
    if texts is None or config.text is None or config.text.training == "frozen":
        return None
    encoder, searches = texts.reader.encoder, texts.searches
    return TrainedTexts(
        encoder,
        encoder.numpy_tokenize(texts.reader.item_texts.tolist()),
        None if searches is None else encoder.numpy_tokenize(["", *searches.texts]),
        num_fresh=config.text.num_fresh_items,
    )


def _vectors(table: TextTable | None) -> np.ndarray | None:
    return None if table is None else table.vectors


def _smallest_batch(
    sequences: EventSequences, *, has_searches: bool, reads_histories: bool
) -> RetrievalBatch:
    """A batch of one start token and no history: calling it creates variables."""

    def ones(spec: tf.TensorSpec) -> tf.Tensor:
        return tf.ones([1] * spec.shape.rank, spec.dtype)

    spec = batch_spec(sequences)
    tokens = Tokens(*(ones(s) for s in spec.tokens))
    return RetrievalBatch(
        tokens,
        tf.zeros([1], tf.int32),
        tf.constant([2], tf.int32),
        tf.ones([1]),
        {name: ones(s) for name, s in spec.target_context.items()},
        tf.zeros([1], tf.int32) if has_searches else (),
        tf.zeros([1], tf.int32) if reads_histories else (),
    )


def compile_retrieval_model(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    *,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None = None,
) -> RetrievalModel:
    """Builds the model together with all variables of its optimizer."""
    with strategy.scope():
        model = build_retrieval_model(config, dataset, item_table, texts=texts)
        settings = config.training.retrieval.optimizer
        optimizer = make_optimizer(settings, model.first_variables)
        if config.text is not None and model.second_variables:
            rate = {"learning_rate": config.text.learning_rate}
            model.second_optimizer = make_optimizer(
                settings.model_copy(update=rate), model.second_variables
            )
        average_weights(model, config.training.retrieval.average_decay)
        model.compile(optimizer=optimizer)
    return model


def start_ids(
    config: ExperimentConfig, sequences: EventSequences, model: RetrievalModel
) -> None:
    """Sets the id embeddings of a new model, as `retrieval.id_initializer` says."""
    settings = config.retrieval
    if settings.id_initializer == "cooccurrence":
        vectors = cooccurrence_vectors(
            sequences, model.num_items, dim=settings.embedding_dim, seed=config.seed
        )
        model.candidate_tower.start_ids(vectors)


def count_transitions(
    config: ExperimentConfig,
    sequences: EventSequences,
    model: RetrievalModel,
    *,
    splits: tuple[str, ...] = ("train",),
) -> None:
    """Sets what came next after what, if the model scores by it."""
    if model.transition_mixture is not None:
        schema = config.experiment_schema
        model.transition_mixture.set_followers(
            count_followers(sequences, schema, model.num_items, splits=splits)
        )


def train_retrieval(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    *,
    path: Path,
    strategy: tf.distribute.Strategy,
    texts: ShopTexts | None = None,
    after_epoch: EpochHook | None = None,
) -> tuple[RetrievalModel, dict[str, Any]]:
    """Trains until validation no longer improves; returns the best epoch's model.

    How texts are compared is fitted last (`fit_text_match`), and then how much room
    new items get (`fit_new_item_logit`); the history says what came of them,
    `text_match` and `new_items`, and how many events an epoch reads,
    `training_events`.
    """
    sequences = dataset.load_sequences()
    model = compile_retrieval_model(
        config, dataset, item_table, strategy=strategy, texts=texts
    )
    # A run that is continued restores its own weights over these.
    start_ids(config, sequences, model)
    count_transitions(config, sequences, model)
    batches, steps = distributed_batches(
        config,
        dataset,
        strategy,
        splits=("train",),
        first_epoch=lambda: int(model.epochs_done.numpy()),
        texts=texts,
    )
    reader = None if texts is None else texts.reader
    validator = RetrievalValidator(config, sequences, model, reader)
    history: dict[str, Any] = fit(
        model,
        batches,
        name="retrieval",
        path=path,
        stage=config.training.retrieval,
        steps_per_epoch=steps,
        metric=config.evaluation.selection_metric,
        validate=validator,
        after_epoch=after_epoch,
        more_callbacks=refreshes(config, sequences, model, ("train",), texts),
    )
    history["training_events"] = int((sequences.split == TRAIN).sum())
    metric = config.evaluation.selection_metric
    about = fit_text_match(config, sequences, model, reader)
    if about:
        history["text_match"] = {**about, metric: validator()[metric]}
    room = fit_new_item_logit(config, sequences, model, reader)
    if room:
        history["new_items"] = room
    if about or room:
        save_weights(model, path / "best")
    return model, history


def refreshes(
    config: ExperimentConfig,
    sequences: EventSequences,
    model: RetrievalModel,
    splits: tuple[str, ...],
    texts: ShopTexts | None,
) -> list[tf.keras.callbacks.Callback]:
    """Returns what finds the intents of a model before each epoch, if it has some."""
    if model.intent_prototypes is None:
        return []
    builder = make_builder(
        config, sequences, splits=splits, num_replicas=1, texts=texts, has_views=False
    )
    return [IntentRefresh(builder, seed=config.seed)]


class RetrievalValidator:
    """Validates a retrieval model as it is now, always on the same queries.

    Raises:
        ValueError: If there is no query to validate on.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        sequences: EventSequences,
        model: RetrievalModel,
        text_reader: TextReader | None = None,
    ) -> None:
        self.text_reader = text_reader
        # With a budget new items are given their room last: until then they must not
        # decide which epoch is the best.
        self.new_item_budget = config.retrieval.new_item_budget
        self.settings = config.evaluation
        self.sequences = sequences
        self.model = model
        self.queries = build_queries(
            sequences,
            config.experiment_schema,
            split="validation",
            targets=self.settings.targets,
            max_queries=self.settings.max_validation_queries,
            seed=config.seed,
        )
        if not self.queries.num_queries:
            raise ValueError(
                "There is nothing to validate on: no user has an event of a type of "
                f"{list(config.experiment_schema.target_event_types)} in the "
                "validation split. See the warnings of `tfrec prepare`; then correct "
                "times that lie in the future, lengthen `data.split.validation_days`, "
                "or choose another `data.split.protocol`."
            )
        self.scorer: RetrievalScorer | None = None

    def __call__(self) -> Mapping[str, float]:
        """Returns the validation metrics of all queries."""
        if self.scorer is None:
            recommender = TrainedRecommender(
                self.model, None, num_candidates=1, text_reader=self.text_reader
            )
            self.scorer = RetrievalScorer(recommender)
        self.model.refresh_texts()
        self.scorer.recommender.refresh()
        return validation_metric(
            self.scorer
            if self.new_item_budget is None
            else WithoutNewItems(self.scorer, self.model),
            self.sequences,
            self.queries,
            self.settings.selection_metric,
            num_items=self.model.num_items,
            exclude_seen=self.settings.exclude_seen,
        )
