"""Training batches of retrieval as `tf.data`, also under a strategy."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.cloze import ClozeBatchBuilder
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.data.views import ViewDrawer, view_kinds
from tfrec.data.windows import Targets, find_targets, has_baskets
from tfrec.features.tokens import Tokens, tokens_of
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.text.shop_texts import ShopTexts

PREFETCH = 4  # Batches; each is built in a few milliseconds.


def are_baskets_unordered(config: ExperimentConfig, sequences: EventSequences) -> bool:
    """Whether events of one time do not predict one another.

    `auto` says so of a log of baskets under a cut in time, where a request comes
    before a basket. Leave-one-out asks for the last event of a file's order.
    """
    setting = config.retrieval.simultaneous_events
    if setting == "auto":
        is_cut = config.data.split.protocol == "by_time"
        return is_cut and has_baskets(sequences)
    return setting == "unordered"


def make_builder(
    config: ExperimentConfig,
    sequences: EventSequences,
    *,
    splits: tuple[str, ...],
    num_replicas: int,
    num_workers: int = 1,
    texts: ShopTexts | None = None,
    has_views: bool = True,
) -> BatchBuilder:
    """Builds the batches of one replica from some splits.

    Args:
        config: The run's configuration.
        sequences: The events of this worker.
        splits: Whose events are targets.
        num_replicas: Over all workers; they share the global batch.
        num_workers: Among whom the users are shared out.
        texts: Searches, and histories as text, to learn from; None for none.
        has_views: Whether a regulariser, if there is one, gets its views.

    Raises:
        ValueError: If no event of these splits can be learned from.
    """
    retrieval = config.retrieval
    schema = config.experiment_schema
    targets = find_targets(
        sequences,
        schema,
        splits=splits,
        recency_half_life_days=retrieval.recency_half_life_days,
        simultaneous_unordered=are_baskets_unordered(config, sequences),
    )
    if not targets.weights.any():
        raise ValueError(
            "There is nothing to learn from: no event of the splits "
            f"{list(splits)} has a type of {list(schema.target_event_types)} and an "
            "item of the catalogue. Check `data.split` and `data.cleaning`."
        )
    stage = config.training.retrieval
    num_targets = int((targets.weights > 0).sum()) * num_workers  # About, of all.
    batch_size = min(stage.global_batch_size, num_targets // stage.min_steps_per_epoch)
    build: Callable[..., BatchBuilder] = BatchBuilder
    if retrieval.encoder == "bert4rec":
        build = partial(
            ClozeBatchBuilder,
            mask_share=retrieval.cloze_mask_share,
            last_share=retrieval.cloze_last_share,
        )
    return build(
        sequences,
        targets,
        # The start token and a full history: a request asks from that last place, so
        # it has to be learned.
        max_length=retrieval.max_history_length + 1,
        batch_tokens=batch_size // num_replicas,
        batching=config.training.batching,
        seed=config.seed,
        search_rows=None if texts is None else texts.search_rows(sequences),
        history_rows=None if texts is None else texts.history_rows(sequences, schema),
        past_search_rows=None
        if texts is None
        else texts.past_search_rows(sequences, schema),
        view_drawer=_view_drawer(config, sequences, targets) if has_views else None,
        augmentation=retrieval.augmentation,
    )


def _view_drawer(
    config: ExperimentConfig, sequences: EventSequences, targets: Targets
) -> ViewDrawer | None:
    retrieval = config.retrieval
    kinds = view_kinds(retrieval.regulariser, retrieval.regulariser_share)
    if not kinds:
        return None
    return ViewDrawer(
        sequences,
        targets,
        kinds=kinds,
        max_length=retrieval.max_history_length + 1,
        max_queries=retrieval.regulariser_queries,
    )


def batch_spec(
    sequences: EventSequences,
    *,
    has_searches: bool = False,
    reads_histories: bool = False,
    has_past_searches: bool = False,
    has_views: bool = False,
) -> RetrievalBatch:
    """Returns the `tf.TensorSpec`s of a batch."""
    ints = tf.TensorSpec([None, None], tf.int32)
    longs = tf.TensorSpec([None, None], tf.int64)
    floats = tf.TensorSpec([None, None], tf.float32)
    flat = tf.TensorSpec([None], tf.int32)
    context = {
        name: tf.TensorSpec([None], tf.as_dtype(values.dtype))
        for name, values in sequences.context.items()
    }
    tokens = Tokens(ints, ints, longs, floats, longs, ints, ints)
    batch = RetrievalBatch(
        tokens,
        flat,
        flat,
        tf.TensorSpec([None], tf.float32),
        context,
        flat if has_searches else (),
        flat if reads_histories else (),
        ints if has_past_searches else (),
    )
    return batch._replace(views=batch) if has_views else batch


def batch_of(arrays: BatchArrays) -> RetrievalBatch:
    """Returns the batch of arrays, field by field; they stay arrays."""
    views = arrays.views
    fields = {
        **arrays._asdict(),
        "tokens": tokens_of(arrays.tokens),
        "views": batch_of(views) if isinstance(views, BatchArrays) else (),
    }
    return RetrievalBatch(**fields)


def builder_spec(builder: BatchBuilder) -> RetrievalBatch:
    """Returns the `tf.TensorSpec`s of the batches of a builder."""
    return batch_spec(
        builder.sequences,
        has_searches=builder.search_rows is not None,
        reads_histories=builder.history_rows is not None,
        has_past_searches=builder.past_search_rows is not None,
        has_views=builder.view_drawer is not None,
    )


def endless_batches(
    builder: BatchBuilder, first_epoch: Callable[[], int]
) -> tf.data.Dataset:
    """Returns all epochs behind one another, from `first_epoch()` on.

    It is asked when the first batch is drawn: a continued run knows its number
    only after its weights were restored.
    """

    def generate() -> Iterator[RetrievalBatch]:
        epoch = first_epoch()
        while True:
            for batch in builder.epoch(epoch):
                yield batch_of(batch)
            epoch += 1

    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=builder_spec(builder)
    )
    return dataset.prefetch(PREFETCH)


def distributed_batches(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    strategy: tf.distribute.Strategy,
    *,
    splits: tuple[str, ...],
    first_epoch: Callable[[], int],
    texts: ShopTexts | None = None,
) -> tuple[Any, int]:
    """Returns the batches of all replicas, and the steps of an epoch.

    Every worker reads its own users; every replica draws its own batch of
    `global_batch_size / num_replicas` events.
    """
    num_replicas = max(strategy.num_replicas_in_sync, 1)
    sequences = dataset.load_sequences()
    whole = make_builder(
        config,
        sequences,
        splits=splits,
        num_replicas=num_replicas,
        texts=texts,
    )
    steps = max(round(whole.num_batches() / num_replicas), 1)
    if isinstance(
        strategy,
        tf.distribute.MirroredStrategy | tf.distribute.MultiWorkerMirroredStrategy,
    ):

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            if context.num_input_pipelines == 1:
                return endless_batches(whole, first_epoch)
            own = dataset.load_sequences(
                shard=context.input_pipeline_id, num_shards=context.num_input_pipelines
            )
            builder = make_builder(
                config,
                own,
                splits=splits,
                num_replicas=num_replicas,
                num_workers=context.num_input_pipelines,
                texts=texts,
            )
            return endless_batches(builder, first_epoch)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return strategy.distribute_datasets_from_function(of_worker), steps
    return endless_batches(whole, first_epoch), steps
