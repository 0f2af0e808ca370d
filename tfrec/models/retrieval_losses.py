"""What the retrieval model minimises: exact softmax, or losses over negatives."""

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from tfrec.models.binary_losses import (
    calibrated_positive_power,
    generalized_bce_loss,
    mask_accidental_hits,
)
from tfrec.models.chunked_softmax import chunked_softmax_loss
from tfrec.models.cross_replica import gather_over_replicas
from tfrec.models.interest_scores import (
    catalogue_scores,
    own_scores,
    paired_scores,
)
from tfrec.models.interest_softmax import chunked_interest_loss
from tfrec.models.label_smoothing import label_smoothing_term
from tfrec.models.negatives import (
    Negatives,
    draw_negatives,
    draw_uniform,
    inclusion_probability,
)
from tfrec.models.sampled_softmax import sampled_softmax_loss
from tfrec.schema import NUM_SPECIAL_INDICES

if TYPE_CHECKING:
    from tfrec.models.retrieval_batch import RetrievalBatch
    from tfrec.models.retrieval_model import RetrievalModel


class Comparison(NamedTuple):
    """The vectors that a loss over negatives compares; the bias is part of them.

    Attributes:
        queries: float32 `[num_targets, dim]`, divided by the temperature; with several
            interests `[num_targets, num_interests, dim]`.
        positives: float32 `[num_targets, dim]`.
        negatives: float32 `[num_negatives, dim]`.
    """

    queries: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor


def total_loss(
    model: "RetrievalModel", batch: "RetrievalBatch", *, training: bool
) -> tf.Tensor:
    """Returns the loss that `retrieval.loss` names, summed over weighted targets.

    Args:
        model: What encodes histories and candidates.
        batch: Its targets are int32 `[num_targets]`, their weights float32 of the
            same shape; a weight of 0 takes a target out. Losses over negatives draw
            them, or take the other targets of the batch.
        training: Whether ids and units are dropped.

    Returns:
        float32 scalar, not divided by the weights.
    """
    return LOSSES[model.settings.loss](model, batch, training)


def _exact_loss(
    model: "RetrievalModel", batch: "RetrievalBatch", training: bool
) -> tf.Tensor:
    """The softmax over the whole catalogue, in chunks, with repeats and transitions.

    References:
        - Klenitskiy, Vasilev, "Turning Dross Into Gold Loss: is BERT4Rec really
          better than SASRec?", RecSys 2023, https://arxiv.org/abs/2309.07602 (the
          exact cross-entropy instead of drawn negatives).
    """
    rows = model.candidate_tower.id_rows(model.all_items, training=training)
    fresh = model.fresh_texts(batch, training=training)
    texts = model.candidate_tower.item_texts(model.all_items, fresh)
    items = model.candidate_tower(model.all_items, rows, texts)
    encoded = model.encode_batch(
        batch,
        tf.gather(items, batch.tokens.item_index),
        None if texts is None else tf.gather(texts, batch.tokens.item_index),
        training=training,
    )
    candidates = tf.cast(items[NUM_SPECIAL_INDICES:], tf.float32)
    repeats = encoded.repeats
    compared = (
        encoded.embeddings * tf.exp(-model.log_temperature),
        tf.math.l2_normalize(candidates, axis=-1),
        tf.gather(model.bias_rows, rows[NUM_SPECIAL_INDICES:]) + model.never_shown,
        batch.target_items - NUM_SPECIAL_INDICES,
        batch.target_weights,
    )
    known: dict[str, Any] = {
        "repeat_columns": None
        if repeats is None
        else repeats.item_index - NUM_SPECIAL_INDICES,
        "repeat_logits": None if repeats is None else repeats.logits,
    }
    if model.settings.num_interests > 1:
        return chunked_interest_loss(
            *compared,
            **known,
            label_smoothing=model.settings.label_smoothing,
            chunk_size=model.settings.softmax_chunk_size,
        )
    transitions = encoded.transitions
    mixture: dict[str, Any] = {}
    if transitions is not None:
        mixture["log_softmax_share"] = transitions.log_softmax_share
        mixture["log_other_mass"] = transitions.log_mass(batch.target_items)
    loss = chunked_softmax_loss(
        *compared,
        **known,
        **mixture,
        chunk_size=model.settings.softmax_chunk_size,
    )
    if model.settings.label_smoothing:
        term = label_smoothing_term(*compared, **known)
        loss += model.settings.label_smoothing * term
    return loss


def _sampled_softmax(
    model: "RetrievalModel", batch: "RetrievalBatch", training: bool
) -> tf.Tensor:
    """The softmax over positives and shared negatives, half of them of the batch.

    References:
        - Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks
          in Recommendations", WWW 2020 (targets of the batch and uniform items).
        - Bengio, Senecal, "Adaptive Importance Sampling to Accelerate Training of a
          Neural Probabilistic Language Model", IEEE TNN 2008 (log Q).
    """
    num_uniform = model.settings.num_sampled_negatives
    targets = _shared_targets(model, batch)
    negatives = draw_negatives(
        targets, num_uniform=num_uniform, num_items=model.num_items
    )
    frequency = _streaming_frequency(model, targets, training)
    return _corrected_softmax(
        model, batch, negatives, frequency, num_uniform=num_uniform, training=training
    )


def _in_batch_softmax(
    model: "RetrievalModel", batch: "RetrievalBatch", training: bool
) -> tf.Tensor:
    """The softmax over the targets of the batch, corrected for their frequency.

    References:
        - Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
          Recommendations", RecSys 2019 (log Q from streaming counts).
    """
    targets = _shared_targets(model, batch)
    negatives = Negatives(tf.unique(targets)[0], tf.size(targets))
    frequency = _streaming_frequency(model, targets, training)
    return _corrected_softmax(
        model, batch, negatives, frequency, num_uniform=0, training=training
    )


def _shared_targets(model: "RetrievalModel", batch: "RetrievalBatch") -> tf.Tensor:
    """Returns the targets that negatives are taken from; if asked, of all replicas.

    Their ids alone are gathered: what their vectors are every replica computes, so
    that the summed gradients are those of one replica with the whole batch.
    """
    if not model.settings.cross_replica_negatives:
        return batch.target_items
    return gather_over_replicas(batch.target_items)


def _streaming_frequency(
    model: "RetrievalModel", targets: tf.Tensor, training: bool
) -> tf.Tensor:
    if model.target_frequency is None:
        raise ValueError(
            "This loss needs a model that was built with it. Received: "
            f"loss={model.settings.loss} without counts of targets."
        )
    return model.target_frequency(targets, training=training)


def _corrected_softmax(
    model: "RetrievalModel",
    batch: "RetrievalBatch",
    negatives: Negatives,
    frequency: tf.Tensor,
    *,
    num_uniform: int,
    training: bool,
) -> tf.Tensor:
    """The softmax over positives and shared negatives, with logQ."""

    def probability(item_index: tf.Tensor) -> tf.Tensor:
        return inclusion_probability(
            tf.gather(frequency, item_index - NUM_SPECIAL_INDICES),
            num_in_batch=negatives.num_in_batch,
            num_uniform=num_uniform,
            num_items=model.num_items,
        )

    compared = _compare(model, batch, negatives.item_index, training)
    return sampled_softmax_loss(
        *compared,
        positive_item_index=batch.target_items,
        negative_item_index=negatives.item_index,
        positive_probability=probability(batch.target_items),
        negative_probability=probability(negatives.item_index),
        weights=batch.target_weights,
    )


def _gbce(
    model: "RetrievalModel", batch: "RetrievalBatch", training: bool
) -> tf.Tensor:
    """Every target is compared with the same uniform negatives: one matrix product.

        loss of the logits - log(num_negatives)

    Relative to the paper: the logits of normalised vectors start around 0, which says
    that every other item is wanted. Lowered by the prior of one positive among so many,
    they start where the paper's come to; the order of items is the same.

    References:
        - Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
          https://arxiv.org/abs/1708.02002 (starting from the prior).
        - Petrov, Macdonald, "gSASRec: Reducing Overconfidence in Sequential
          Recommendation Trained with Negative Sampling", RecSys 2023,
          https://arxiv.org/abs/2308.07192.
    """
    drawn = draw_uniform(
        [model.settings.num_sampled_negatives], num_items=model.num_items
    )
    negatives = tf.unique(drawn)[0]
    compared = _compare(model, batch, negatives, training)
    mask = mask_accidental_hits(batch.target_items, negatives[tf.newaxis])
    prior = tf.math.log(tf.cast(tf.size(negatives), tf.float32))
    return generalized_bce_loss(
        paired_scores(compared.queries, compared.positives) - prior,
        catalogue_scores(compared.queries, compared.negatives) - prior,
        mask,
        batch.target_weights,
        positive_power=calibrated_positive_power(
            mask,
            num_items=model.num_items,
            calibration=model.settings.gbce_calibration,
        ),
    )


def _bce(model: "RetrievalModel", batch: "RetrievalBatch", training: bool) -> tf.Tensor:
    """Every target has uniform negatives of its own; for comparison.

    References:
        - Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
          https://arxiv.org/abs/1808.09781.
    """
    num_negatives = model.settings.num_bce_negatives
    shape = tf.stack([tf.size(batch.target_items), num_negatives])
    negatives = draw_uniform(shape, num_items=model.num_items)
    compared = _compare(model, batch, tf.reshape(negatives, [-1]), training)
    width = compared.queries.shape[-1]
    own = tf.reshape(compared.negatives, [-1, num_negatives, width])
    return generalized_bce_loss(
        paired_scores(compared.queries, compared.positives),
        own_scores(compared.queries, own),
        mask_accidental_hits(batch.target_items, negatives),
        batch.target_weights,
    )


LOSSES = {
    "softmax": _exact_loss,
    "sampled_softmax": _sampled_softmax,
    "in_batch": _in_batch_softmax,
    "gbce": _gbce,
    "bce": _bce,
}


def _compare(
    model: "RetrievalModel",
    batch: "RetrievalBatch",
    negatives: tf.Tensor,
    training: bool,
) -> Comparison:
    """Encodes the queries of a step, their positives and `[num_negatives]` items."""
    tokens = tf.reshape(batch.tokens.item_index, [-1])
    # Only distinct items go through the tower.
    wanted = tf.concat([tokens, batch.target_items, negatives], axis=0)
    distinct, place = tf.unique(wanted)
    rows = model.candidate_tower.id_rows(distinct, training=training)
    fresh = model.fresh_texts(batch, training=training)
    # The bias rides along as one more dimension that every query has at 1.
    vectors = tf.gather(_with_bias(model, distinct, rows, fresh), place)
    sizes = [tf.size(tokens), tf.size(batch.target_items), tf.size(negatives)]
    of_tokens, of_positives, of_negatives = tf.split(vectors, sizes)
    shape = tf.concat([tf.shape(batch.tokens.item_index), [-1]], axis=0)
    encoded = model.encode_batch(
        batch,
        tf.cast(
            tf.reshape(of_tokens[:, :-1], shape), model.candidate_tower.compute_dtype
        ),
        _token_texts(model, batch, fresh),
        training=training,
    )
    queries = encoded.embeddings * tf.exp(-model.log_temperature)
    return Comparison(
        tf.concat([queries, tf.ones_like(queries[..., 0:1])], axis=-1),
        _normalised(of_positives),
        _normalised(of_negatives),
    )


def _with_bias(
    model: "RetrievalModel",
    item_index: tf.Tensor,
    rows: tf.Tensor,
    text_rows: tf.Tensor | None,
) -> tf.Tensor:
    """Returns item vectors with the items' bias behind them."""
    texts = model.candidate_tower.item_texts(item_index, text_rows)
    vectors = tf.cast(model.candidate_tower(item_index, rows, texts), tf.float32)
    bias = tf.gather(model.bias_rows, rows)
    return tf.concat([vectors, bias[:, tf.newaxis]], axis=1)


def _token_texts(
    model: "RetrievalModel", batch: "RetrievalBatch", text_rows: tf.Tensor | None
) -> tf.Tensor | None:
    """Returns the texts of the tokens' items; None if queries read none."""
    if model.query_tower.text_sequence is None:
        return None
    flat = tf.reshape(batch.tokens.item_index, [-1])
    texts = model.candidate_tower.item_texts(flat, text_rows)
    shape = tf.concat([tf.shape(batch.tokens.item_index), [-1]], axis=0)
    return None if texts is None else tf.reshape(texts, shape)


def _normalised(vectors: tf.Tensor) -> tf.Tensor:
    """L2-normalises vectors but for their last element, the bias."""
    unit = tf.math.l2_normalize(vectors[:, :-1], axis=-1)
    return tf.concat([unit, vectors[:, -1:]], axis=1)
