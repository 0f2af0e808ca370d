"""Reads the texts of requests: what is searched for, and what was seen lately."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrec.text.encoder import TextEncoder

# Newest events whose texts are joined; the token budget ends the text long before.
MAX_JOINED = 32
SEPARATOR = ". "

Vectors = np.ndarray | tuple[()]


class TextReader(tf.Module):
    """A text encoder with the texts of the catalogue.

    Args:
        encoder: The encoder.
        item_texts: Text per item index, `[num_items + 2]`; "" where there is none.
        reads_histories: Whether the newest texts of a history are read as one
            ("single-sequence").
    """

    def __init__(
        self,
        encoder: TextEncoder,
        item_texts: Sequence[str],
        *,
        reads_histories: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.item_texts = np.array(item_texts, object)
        self.reads_histories = reads_histories
        self._known: dict[str, np.ndarray] = {}  # Vectors of texts read before.

    @property
    def text_dim(self) -> int:
        """Width of a vector."""
        return self.encoder.text_dim

    def read_searches(self, texts: tf.Tensor) -> tf.Tensor:
        """Encodes string `[batch_size]`, in the graph."""
        return self.encoder.encode(texts)

    def read_histories(self, item_index: tf.Tensor) -> tf.Tensor | tuple[()]:
        """Encodes the joined texts of int32 `[batch_size, history_length]`.

        In the graph; `()` where histories are not read as one text.
        """
        if not self.reads_histories:
            return ()
        texts = tf.constant(self.item_texts.astype(str))
        newest = tf.reverse(item_index, axis=[1])
        # Padding is on the right: it has no text, and adds nothing.
        parts = tf.gather(texts, newest)
        place = tf.cumsum(tf.cast(parts != "", tf.int32), axis=1)
        said = (parts != "") & (place <= MAX_JOINED)
        parts = tf.where(said, parts + SEPARATOR, "")
        return self.encoder.encode(tf.strings.reduce_join(parts, axis=1))

    def join(self, item_index: np.ndarray) -> list[str]:
        """Returns the joined text of each row, the newest item first."""
        joined = []
        for row in item_index:
            texts = [self.item_texts[item] for item in row[::-1] if item]
            texts = [text for text in texts if text][:MAX_JOINED]
            joined.append("".join(f"{text}{SEPARATOR}" for text in texts))
        return joined

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Remembers vectors, so that `vectors` need not encode these texts."""
        self._known.update(zip(texts, vectors, strict=True))

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[len(texts), text_dim]`; encodes each text once."""
        new = sorted({text for text in texts if text not in self._known})
        if new:
            self.learn(new, self.encoder.encode(tf.constant(new)).numpy())
        rows = [self._known[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.text_dim), np.float32)
