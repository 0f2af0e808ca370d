"""A text encoder that is trained together with the towers."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens

REFRESH_TOKENS = 8_192  # Of a batch, when the whole catalogue is read again.


class TrainedTexts(tf.keras.layers.Layer):
    """Encodes some items of every batch anew, so that the encoder can learn.

    The vectors of all texts are kept, as the encoder last made them. A step reads
    `num_fresh` distinct items of its batch anew and puts them in place of the kept
    ones: gradients reach the encoder through these alone. `refresh` reads all texts
    again; in between the kept ones lag behind by at most an epoch, which is cheaper
    by the ratio of the catalogue to `num_fresh` and a memory bank of the encoder.

    Args:
        encoder: With something left to train.
        item_tokens: Tokens per item index, int32 ids and bool mask (True marks a real
            token) `[num_items + 2, num_tokens]`.
        search_tokens: Tokens of the searches, row 0 is none; None without searches.
        num_fresh: Distinct items that a step encodes.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    References:
        - Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
          Discrimination", CVPR 2018 (a memory bank).
        - Xiong et al., "Approximate Nearest Neighbor Negative Contrastive Learning
          for Dense Text Retrieval", ICLR 2021 (a catalogue encoded anew at times).
    """

    def __init__(
        self,
        encoder: TextEncoder,
        item_tokens: TextTokens,
        search_tokens: TextTokens | None,
        *,
        num_fresh: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.item_tokens = item_tokens
        self.search_tokens = search_tokens
        self.num_fresh = num_fresh

    def call(self, kept: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
        """Returns the kept vectors with some of `item_index` encoded anew.

        Args:
            kept: float32 `[num_items + 2, text_dim]`.
            item_index: int32 `[num_wanted]`, items of the batch; may repeat.

        Returns:
            float32 `[num_items + 2, text_dim]`.
        """
        distinct, _ = tf.unique(item_index)
        chosen = tf.random.shuffle(distinct)[: self.num_fresh]
        tokens = TextTokens(*(tf.gather(part, chosen) for part in self.item_tokens))
        # No wider than its longest text: padding costs as much as words.
        width = tf.reduce_max(tf.reduce_sum(tf.cast(tokens.padding_mask, tf.int32), 1))
        width = tf.maximum(width, 1)
        fresh = self.encoder(
            TextTokens(tokens.token_ids[:, :width], tokens.padding_mask[:, :width]),
            training=True,
        )
        return tf.tensor_scatter_nd_update(kept, tf.expand_dims(chosen, 1), fresh)

    def encode_items(self) -> np.ndarray:
        """Returns float32 `[num_items + 2, text_dim]` of all items, encoded now."""
        return self._encode(self.item_tokens)

    def encode_searches(self) -> np.ndarray | None:
        """Returns float32 `[num_searches + 1, text_dim]`; None without searches."""
        return None if self.search_tokens is None else self._encode(self.search_tokens)

    def _encode(self, tokens: TextTokens) -> np.ndarray:
        token_ids, mask = (np.asarray(part) for part in tokens)
        lengths = mask.sum(axis=1)
        vectors = np.zeros((len(mask), self.encoder.text_dim), np.float32)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        start = 0
        while start < len(order):
            # Texts of like length share a batch; its last one is the longest.
            size = max(REFRESH_TOKENS // int(lengths[order[start]]), 1)
            rows = order[start : start + size]
            width = int(lengths[rows].max())
            batch = TextTokens(
                tf.constant(token_ids[rows, :width]), tf.constant(mask[rows, :width])
            )
            vectors[rows] = self._run(batch).numpy()
            start += size
        return vectors

    @tf.function(reduce_retracing=True, autograph=False)
    def _run(self, tokens: TextTokens) -> tf.Tensor:
        return self.encoder(tokens, training=False)
