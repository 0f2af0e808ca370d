"""Intents of ICSRec: clusters of training queries, found anew before each epoch."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.data.batches import BatchBuilder
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.training.input import batch_of, builder_spec

MAX_CLUSTERED = 50_000  # Queries: more move the centres of some 100 clusters little.
ROWS_PER_STEP = 4_096  # Of mini-batch k-means.


class IntentRefresh(tf.keras.callbacks.Callback):
    """Clusters training queries before each epoch, as the model encodes them then.

    Args:
        builder: Gives the training batches; their queries are clustered, up to
            `MAX_CLUSTERED` of them.
        seed: Of the clustering.

    Raises:
        ValueError: When training begins, if there are fewer queries than intents.
    """

    def __init__(self, builder: BatchBuilder, *, seed: int) -> None:
        super().__init__()
        self.builder = builder
        self.seed = seed
        self._encode: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Finds the intents."""
        model: Any = self.model  # A `RetrievalModel`.
        if self._encode is None:
            self._encode = _encoder(model, self.builder)
        number = int(model.epochs_done.numpy())
        parts, missing = [], MAX_CLUSTERED
        items, texts = model.item_vectors(), model.item_texts()
        for batch in self.builder.epoch(number):
            parts.append(self._encode(batch_of(batch), items, texts).numpy()[:missing])
            missing -= len(parts[-1])
            if missing <= 0:
                break
        variable = model.intent_prototypes
        start = tf.convert_to_tensor(variable).numpy()
        found = find_prototypes(
            np.concatenate(parts),
            len(start),
            start=start,
            seed=self.seed + number,
        )
        variable.assign(found)


def find_prototypes(
    queries: np.ndarray,
    num_intents: int,
    *,
    start: np.ndarray | None = None,
    seed: int,
) -> np.ndarray:
    """Clusters queries by mini-batch k-means.

    Args:
        queries: float32 `[num_queries, embedding_dim]`, L2-normalised.
        num_intents: Clusters.
        start: float32 `[num_intents, embedding_dim]`, the clusters of the last epoch,
            from which the search goes on; all 0, or None, for none yet.
        seed: Of the clustering.

    Returns:
        float32 `[num_intents, embedding_dim]`, L2-normalised.

    Raises:
        ValueError: If there are fewer queries than intents.
    """
    if len(queries) < num_intents:
        raise ValueError(
            "`retrieval.num_intents` must not be above the number of training targets. "
            f"Received: num_intents={num_intents}, targets={len(queries)}. Lower it."
        )
    # Only here: a run without intents need not wait for it.
    from sklearn.cluster import MiniBatchKMeans

    build: Any = MiniBatchKMeans  # Its stub takes strings alone.
    goes_on = start is not None and bool(np.any(start))
    clusters = build(
        num_intents,
        init=start if goes_on else "k-means++",
        n_init=1,
        batch_size=ROWS_PER_STEP,
        random_state=seed,
    ).fit(queries)
    centres = clusters.cluster_centers_
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    return (centres / np.maximum(lengths, 1e-12)).astype(np.float32)


def _encoder(model: RetrievalModel, builder: BatchBuilder) -> Any:
    """Returns a graph from a batch and the vectors of items to its queries."""

    @tf.function(reduce_retracing=True, autograph=False)
    def encode(
        batch: RetrievalBatch, items: tf.Tensor, texts: tf.Tensor | None
    ) -> tf.Tensor:
        index = batch.tokens.item_index
        return model.encode_batch(
            batch,
            tf.gather(items, index),
            None if texts is None else tf.gather(texts, index),
            training=False,
        ).embeddings

    specs = builder_spec(builder)

    def call(batch: RetrievalBatch, items: tf.Tensor, texts: Any) -> tf.Tensor:
        tensors = tf.nest.map_structure(
            lambda value, spec: tf.convert_to_tensor(value, spec.dtype), batch, specs
        )
        return encode(tensors, items, texts)

    return call
