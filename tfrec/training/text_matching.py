"""Fits how much the likeness of texts counts, when the towers are trained."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from rich.progress import track

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences
from tfrec.evaluation.model_scorers import RetrievalScorer, spec_of
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.features.request import Request
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.reader import TextReader

_MAX_QUERIES = 8_000  # A handful of numbers is learned.
_NUM_EPOCHS = 2
_BATCH_SIZE = 128
_LEARNING_RATE = 0.05
_HOLDOUT_SHARE = 0.2  # Users who decide whether it is taken.

Loss = Callable[[Request, tf.Tensor], tf.Tensor]
Batch = Callable[[np.ndarray], tuple[Request, tf.Tensor]]


def fit_text_match(
    config: ExperimentConfig,
    sequences: EventSequences,
    model: RetrievalModel,
    text_reader: TextReader | None,
) -> dict[str, float | bool]:
    """Fits `TextMatch` on validation targets; nothing else of the model moves.

    The loss is that of the scores over the catalogue, as of the towers, over items that
    may be recommended. A fifth of the users is held out: unless the fit makes their
    loss smaller by two standard errors, texts are not compared at all. Some searches
    are hidden, so that histories alone count for something.

    One factor of all scores is fitted beside, and then forgotten: towers are too sure
    of themselves on events they were not trained on, and whoever takes their word at
    its strength finds that texts add little.

    Args:
        config: Of the experiment.
        sequences: All events.
        model: With the weights of its best epoch.
        text_reader: Reads searches and texts of histories.

    Returns:
        `is_used`, `loss_without` and `loss_with` of the held-out users, both with
        their best factor, and what was fitted:
        `half_life` (events), `gain` (of an item of mean frequency), `cold_gain` (of an
        item that training never saw). Empty where the model compares no texts, or
        there are too few targets to fit or to hold out.
    """
    match = model.text_match
    if match is None:
        return {}
    queries = _validation_queries(config, sequences)
    rng = np.random.default_rng([config.seed, 5])
    held_out = (rng.random(sequences.num_users) < _HOLDOUT_SHARE)[queries.user_rows]
    parts = [np.flatnonzero(~held_out), np.flatnonzero(held_out)]
    if not all(len(rows) for rows in parts):
        return {}
    recommender = TrainedRecommender(
        model, None, num_candidates=1, text_reader=text_reader
    )
    scorer = RetrievalScorer(recommender, searches=True)
    spec = [
        spec_of(recommender, queries.context, searches=True),
        tf.TensorSpec([None], tf.int32),
    ]
    sureness = tf.Variable(tf.constant(1.0))
    loss = _loss_of(
        model,
        recommender,
        sureness,
        exclude_seen=config.evaluation.exclude_seen,
    )
    measure = tf.function(loss, input_signature=spec, autograph=False)
    batch = _batches(scorer, sequences, queries)

    def held_out_losses() -> np.ndarray:
        chunks = np.array_split(parts[1], -(-len(parts[1]) // _BATCH_SIZE))
        return np.concatenate([measure(*batch(rows)).numpy() for rows in chunks])

    def descend(weights: Sequence[tf.Variable]) -> None:
        _descend(loss, weights, batch, parts[0], spec=spec, rng=rng)

    descend([sureness])
    without = held_out_losses()
    match.is_fitted.assign(1.0)
    descend([*match.fitted_weights, sureness])
    found = held_out_losses()
    is_better = _is_smaller(found, without)
    match.is_fitted.assign(float(is_better))
    gains = tf.math.softplus(match.gain + match.slope * tf.constant([0.0, -1.0]))
    return {
        "is_used": is_better,
        "loss_without": float(without.mean()),
        "loss_with": float(found.mean()),
        "half_life": float(tf.exp(match.log_half_life)),
        "gain": float(gains[0]),
        "cold_gain": float(gains[1]),
    }


def _is_smaller(losses: np.ndarray, others: np.ndarray) -> bool:
    """Returns whether paired losses are smaller by two standard errors or more."""
    gain = others - losses
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return bool(gain.mean() > 2.0 * error)


def _validation_queries(
    config: ExperimentConfig, sequences: EventSequences
) -> EvaluationQueries:
    queries = build_queries(
        sequences,
        config.experiment_schema,
        split="validation",
        targets="next",
        max_queries=_MAX_QUERIES,
        seed=config.seed,
    )
    first = queries.positive_items[queries.positive_offsets[:-1]]
    queries = queries.take(np.flatnonzero(first >= NUM_SPECIAL_INDICES))
    if queries.query_text is None:
        return queries
    rng = np.random.default_rng([config.seed, 6])
    hidden = rng.random(queries.num_queries) < config.retrieval.query_text_dropout
    return replace(queries, query_text=np.where(hidden, "", queries.query_text))


def _batches(
    scorer: RetrievalScorer, sequences: EventSequences, queries: EvaluationQueries
) -> Batch:
    targets = queries.positive_items[queries.positive_offsets[:-1]]

    def batch(rows: np.ndarray) -> tuple[Request, tf.Tensor]:
        request = scorer.requests(sequences, queries, rows)
        return request, tf.constant(targets[rows], tf.int32)

    return batch


def _loss_of(
    model: RetrievalModel,
    recommender: TrainedRecommender,
    sureness: tf.Variable,
    *,
    exclude_seen: bool,
) -> Loss:
    """Returns the cross-entropy of each request and its target's item index."""
    # Nothing of them moves.
    candidates, bias = model.candidate_embeddings(), model.item_bias()

    def loss(request: Request, targets: tf.Tensor) -> tf.Tensor:
        encoded = recommender.encode(request)
        keys = model.candidate_keys(candidates=candidates)
        logits = sureness * model.scores(encoded, keys, bias)
        column = targets - NUM_SPECIAL_INDICES
        own = tf.gather(logits, column, batch_dims=1)
        if exclude_seen:
            logits = _without_seen(logits, request.item_index)
        # The target stays, also where it was seen.
        rows = tf.stack([tf.range(tf.size(column)), column], axis=1)
        logits = tf.tensor_scatter_nd_update(logits, rows, own)
        return tf.reduce_logsumexp(logits, axis=1) - own

    return loss


def _without_seen(logits: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
    places = tf.where(item_index >= NUM_SPECIAL_INDICES)  # [num_events, 2], int64
    column = tf.gather_nd(item_index, places) - NUM_SPECIAL_INDICES
    cells = tf.stack([places[:, 0], tf.cast(column, tf.int64)], axis=1)
    low = tf.fill([tf.shape(cells)[0]], logits.dtype.min)
    return tf.tensor_scatter_nd_min(logits, cells, low)


def _descend(
    loss: Loss,
    weights: Sequence[tf.Variable],
    batch: Batch,
    rows: np.ndarray,
    *,
    spec: Sequence[object],
    rng: np.random.Generator,
) -> None:
    @tf.function(input_signature=spec, autograph=False)
    def gradients(request: Request, targets: tf.Tensor) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = tf.reduce_mean(loss(request, targets))
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(value, weights, unconnected_gradients=zero)

    # Beside the weights: those of a strategy cannot be trained outside of it.
    free = [tf.Variable(weight.read_value()) for weight in weights]
    optimizer = tf.keras.optimizers.Adam(_LEARNING_RATE)
    optimizer.build(free)
    order = np.concatenate([rng.permutation(rows) for _ in range(_NUM_EPOCHS)])
    starts = range(0, len(order), _BATCH_SIZE)
    for start in track(starts, "Compare texts", transient=True):
        found = gradients(*batch(order[start : start + _BATCH_SIZE]))
        optimizer.apply_gradients(zip(found, free, strict=True))
        for weight, value in zip(weights, free, strict=True):
            weight.assign(value)
