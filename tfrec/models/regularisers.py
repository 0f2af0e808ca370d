"""What retrieval learns beside its loss: DuoRec and ICSRec."""

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfrec.config import RetrievalConfig
from tfrec.data.views import view_kinds
from tfrec.models.contrastive_losses import Contrast, contrastive_loss
from tfrec.models.cross_replica import first_own_row, gather_over_replicas

if TYPE_CHECKING:
    from tfrec.models.retrieval_model import RetrievalModel


def new_prototypes(config: RetrievalConfig) -> tf.Variable | None:
    """Returns the intents of ICSRec, float32 `[num_intents, embedding_dim]`.

    They are zero until they are found for the first time, and teach nothing then.
    None where they are not used.
    """
    if config.regulariser != "icsrec" or config.regulariser_share == 0.0:
        return None
    shape = (config.num_intents, config.embedding_dim)
    return tf.Variable(tf.zeros(shape), trainable=False, name="intent_prototypes")


def regularisation(model: "RetrievalModel", views: Any) -> tf.Tensor:
    """Returns the weighted regulariser that the model's configuration names.

        weight ((1 - share) first + share second)

        duorec: first  = pair(own, own under other dropout)
                second = pair(own, another history with the same target)
        icsrec: first  = pair(own, another history with the same target)
                second = mean of intent(own) and intent(other)

    See `pair_loss` and `intent_loss`.

    Args:
        model: Encodes the views, in training mode.
        views: `RetrievalBatch` of views, kind by kind, see
            `tfrec.data.views.view_kinds`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: If the batch came without views.

    References:
        - Qiu et al., "Contrastive Learning for Representation Degeneration Problem
          in Sequential Recommendation", WSDM 2022,
          https://arxiv.org/abs/2110.05730 (DuoRec).
        - Qin et al., "Intent Contrastive Learning with Cross Subsequences for
          Sequential Recommendation", WSDM 2024, https://arxiv.org/abs/2310.14318
          (ICSRec).
    """
    settings = model.settings
    if not hasattr(views, "tokens"):
        raise ValueError(
            f"`retrieval.regulariser={settings.regulariser}` needs batches with views. "
            f"Received: views={views}. Give their builder a `view_drawer`."
        )
    kinds = view_kinds(settings.regulariser, settings.regulariser_share)
    embeddings = tf.split(encode_views(model, views), len(kinds))
    weights = tf.split(views.target_weights, len(kinds))
    items = tf.split(views.target_items, len(kinds))[0]

    def pair(other: int) -> tf.Tensor:
        return pair_loss(
            embeddings[0],
            embeddings[other],
            items,
            weights=weights[0],
            has_second=weights[other] > 0.0,
            temperature=settings.regulariser_temperature,
            across_replicas=settings.cross_replica_negatives,
        )

    share, total = settings.regulariser_share, tf.constant(0.0)
    if share < 1.0:
        total += (1.0 - share) * pair(1)
    if share > 0.0 and settings.regulariser == "duorec":
        total += share * pair(len(kinds) - 1)
    elif model.intent_prototypes is not None:
        total += share * intent_loss(
            tf.concat(embeddings, 0),
            model.intent_prototypes,
            weights=tf.concat(weights, 0),
            temperature=settings.regulariser_temperature,
        )
    return settings.regulariser_weight * total


def encode_views(model: "RetrievalModel", views: Any) -> tf.Tensor:
    """Returns float32 `[num_views, embedding_dim]`, L2-normalised, in training mode.

    Args:
        model: What encodes.
        views: `RetrievalBatch`, one query a view.
    """
    tower, index = model.candidate_tower, views.tokens.item_index
    # Only distinct items go through the tower.
    distinct, place = tf.unique(tf.reshape(index, [-1]))
    place = tf.reshape(place, tf.shape(index))
    texts = tower.item_texts(distinct)
    vectors = tower(distinct, tower.id_rows(distinct, training=True), texts)
    reads_texts = model.query_tower.text_sequence is not None and texts is not None
    encoded = model.encode_batch(
        views,
        tf.gather(vectors, place),
        tf.gather(texts, place) if reads_texts else None,
        training=True,
    )
    return encoded.embeddings


def pair_loss(
    first: tf.Tensor,
    second: tf.Tensor,
    target_items: tf.Tensor,
    *,
    weights: tf.Tensor,
    has_second: tf.Tensor,
    temperature: float,
    across_replicas: bool = False,
) -> tf.Tensor:
    """Contrasts two views of each history with the views of all others.

        loss = sum_i w_i (l(a_i, b_i) + l(b_i, a_i)) / (2 sum_i w_i)
        l(x, y) = -log exp(x.y / tau) / (exp(x.y / tau) + sum_z exp(x.z / tau))

    z are both views of all histories whose target is another item: those with the
    same target are false negatives, and left out.

    Args:
        first: float32 `[num_queries, embedding_dim]`, L2-normalised: a.
        second: float32, same shape: b.
        target_items: int32 `[num_queries]`, the item that followed; of both views.
        weights: float32 `[num_queries]`, w; 0 takes a history out, as a negative too.
        has_second: bool `[num_queries]`, False where `second` is no view: the history
            is then a negative of others with its first view alone.
        temperature: tau.
        across_replicas: Whether the histories of all replicas are negatives.

    Returns:
        float32 scalar, the weighted mean over the histories of this replica; 0 if
        none has two views.

    References:
        - Qiu et al., "Contrastive Learning for Representation Degeneration Problem in
          Sequential Recommendation", WSDM 2022, https://arxiv.org/abs/2110.05730
          (DuoRec; false negatives are left out here).
        - Chen et al., "A Simple Framework for Contrastive Learning of Visual
          Representations", ICML 2020, https://arxiv.org/abs/2002.05709 (NT-Xent).
    """
    num_queries = tf.shape(first)[0]
    own, groups = tf.concat([first, second], 0), tf.tile(target_items, [2])
    is_real = weights > 0.0
    contrast = Contrast(own, groups, tf.concat([is_real, is_real & has_second], 0))
    start = tf.constant(0)
    if across_replicas:
        start = first_own_row(2 * num_queries)
        # Collectives know no bool.
        own_mask = tf.cast(contrast.mask, tf.int32)
        gathered = gather_over_replicas((own, groups, own_mask))
        contrast = Contrast(*gathered[:2], gathered[2] > 0)
    place = tf.range(num_queries)
    paired = tf.where(has_second, weights, 0.0)
    loss = contrastive_loss(
        own / temperature,
        contrast,
        positive_columns=start + tf.concat([place + num_queries, place], 0),
        query_groups=groups,
        weights=tf.tile(paired, [2]),
    )
    return tf.math.divide_no_nan(loss, 2.0 * tf.reduce_sum(paired))


def intent_loss(
    queries: tf.Tensor,
    prototypes: tf.Tensor | tf.Variable,
    *,
    weights: tf.Tensor,
    temperature: float,
) -> tf.Tensor:
    """Contrasts every query with its intent, the nearest prototype, and all others.

        loss = -sum_i w_i log softmax_k(h_i . c_k / tau)[argmax_k h_i . c_k] / sum_i w_i

    Prototypes get no gradient: they are clusters of queries, found between epochs (the
    E step of ICSRec; this loss is its M step).

    Args:
        queries: float32 `[num_queries, embedding_dim]`, L2-normalised: h.
        prototypes: float32 `[num_intents, embedding_dim]`, L2-normalised: c.
        weights: float32 `[num_queries]`, w.
        temperature: tau.

    Returns:
        float32 scalar, the weighted mean.

    Relative to the paper: negatives are all prototypes instead of those of the other
    histories of the batch, so that each counts once and none is a false negative.

    References:
        - Qin et al., WSDM 2024, https://arxiv.org/abs/2310.14318.
        - Li et al., "Prototypical Contrastive Learning of Unsupervised
          Representations", ICLR 2021, https://arxiv.org/abs/2005.04966.
    """
    fixed = tf.stop_gradient(tf.convert_to_tensor(prototypes))
    similar = tf.matmul(queries, fixed, transpose_b=True)
    nearest = tf.argmax(similar, axis=1, output_type=tf.int32)
    number = tf.range(tf.shape(fixed)[0])
    loss = contrastive_loss(
        queries / temperature,
        Contrast(fixed, number, tf.ones_like(number, tf.bool)),
        positive_columns=nearest,
        query_groups=nearest,
        weights=weights,
    )
    return tf.math.divide_no_nan(loss, tf.reduce_sum(weights))
