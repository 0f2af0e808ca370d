"""The bidirectional transformer: BERT4Rec."""

import tensorflow as tf

from tfrec.models.transformer import TransformerEncoder


def segment_mask(segment_ids: tf.Tensor) -> tf.Tensor:
    """Returns bool `[num_rows, num_tokens, num_tokens]`: may token i read token j?

    It may where both are real and in the same segment, before or behind one another.

    Args:
        segment_ids: int32 `[num_rows, num_tokens]`; 0 is padding.
    """
    same = tf.equal(segment_ids[:, :, tf.newaxis], segment_ids[:, tf.newaxis, :])
    return same & (segment_ids > 0)[:, tf.newaxis, :]


class Bert4RecEncoder(TransformerEncoder):
    """A stack of blocks that read both ways, with a last normalisation.

        P(item at a masked place) = softmax(state[place] . candidates / temperature)

    Arguments are those of `TransformerEncoder`. A token reads both ways, so one that
    stands for an event would see its own answer; queries are read off masked tokens
    alone, which `tfrec.data.cloze` lays into training batches and
    `tfrec.features.cloze_tokens` behind the history of a request.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            all of its own segment.
        timestamps: Not read.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: pre-norm, the loss that
    `retrieval.loss` names, no dense layer before the product with the items.

    References:
        - Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder
          Representations from Transformer", CIKM 2019,
          https://arxiv.org/abs/1904.06690.
    """

    def call(
        self,
        x: tf.Tensor,
        segment_ids: tf.Tensor,
        timestamps: tf.Tensor | None = None,
        query_timestamps: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        mask = segment_mask(segment_ids)
        for block in self.blocks:
            x = block(x, mask, training=training)
        return self.norm(x)
