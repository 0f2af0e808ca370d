"""Reads the texts of requests: what is searched for, and what was seen lately."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrec.features.request import Searches
from tfrec.text.clean import clean_text
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
        self._said: dict[str, str] = {}  # How texts met before are joined.

    @functools.cached_property
    def _joined_texts(self) -> np.ndarray:
        """The texts of items as they are joined, object `[num_items + 2]` of str."""
        return self.said(self.item_texts)

    @property
    def reads_requests(self) -> bool:
        """Whether texts of requests can be read; those of items always can."""
        return self.encoder.tokenizes_in_graph

    @property
    def text_dim(self) -> int:
        """Width of a vector."""
        return self.encoder.text_dim

    def read_searches(self, texts: tf.Tensor) -> tf.Tensor:
        """Encodes string `[batch_size]`, in the graph."""
        return self.encoder.encode(texts)

    def read_past_searches(self, texts: tf.Tensor) -> Searches:
        """Encodes string `[batch_size, history_length]`; "" is no search.

        In the graph. Each distinct text is encoded once, and the encoder is not run
        where nobody has searched.
        """

        def read() -> tuple[tf.Tensor, tf.Tensor]:
            flat = tf.concat([[""], tf.reshape(texts, [-1])], axis=0)
            distinct, row = tf.unique(flat)  # Row 0 is "", which becomes zeros.
            rows = tf.reshape(row[1:], tf.shape(texts))
            return rows, self.encoder.encode(distinct)

        def skip() -> tuple[tf.Tensor, tf.Tensor]:
            return tf.zeros(tf.shape(texts), tf.int32), tf.zeros([1, self.text_dim])

        return Searches(*tf.cond(tf.reduce_any(tf.not_equal(texts, "")), read, skip))

    def read_histories(
        self, item_index: tf.Tensor, search_text: tf.Tensor | tuple[()] = ()
    ) -> tf.Tensor | tuple[()]:
        """Encodes the joined texts of int32 `[batch_size, history_length]`.

        In the graph; `()` where histories are not read as one text. A search, a
        string of `search_text` that is not "", stands in the place of the item's.
        """
        if not self.reads_histories:
            return ()
        texts = tf.constant(self._joined_texts.astype(str))
        newest = tf.reverse(item_index, axis=[1])
        # Padding is on the right: it has no text, and adds nothing.
        parts = tf.gather(texts, newest)
        if not isinstance(search_text, tuple):
            searched = tf.reverse(search_text, axis=[1])
            parts = tf.where(tf.not_equal(searched, ""), _said(searched), parts)
        place = tf.cumsum(tf.cast(parts != "", tf.int32), axis=1)
        said = (parts != "") & (place <= MAX_JOINED)
        parts = tf.where(said, parts + SEPARATOR, "")
        return self.encoder.encode(tf.strings.reduce_join(parts, axis=1))

    def join(
        self, item_index: np.ndarray, search_text: np.ndarray | tuple[()] = ()
    ) -> list[str]:
        """Returns the joined text of each row, the newest item, or search, first."""
        joined = []
        parts = self._joined_texts[item_index]
        if not isinstance(search_text, tuple):
            parts = np.where(search_text != "", self.said(search_text), parts)
        for row in parts:
            texts = [text for text in row[::-1] if text][:MAX_JOINED]
            joined.append("".join(f"{text}{SEPARATOR}" for text in texts))
        return joined

    def said(self, texts: np.ndarray) -> np.ndarray:
        """Returns an object array of str as they are joined; cleans each text once.

        "" stands for texts without words: blanks and markup alone would leave a
        separator behind them, which is read as a word.
        """
        flat = texts.ravel().tolist()
        new = sorted(set(flat) - self._said.keys())
        if new:
            # Lone surrogates, which no UTF-8 can hold, become question marks.
            encoded = [text.encode("utf-8", "replace") for text in new]
            with tf.init_scope():  # Texts of items are wanted while a graph is traced.
                said = _said(tf.constant(encoded)).numpy()
            self._said.update(zip(new, map(bytes.decode, said), strict=True))
        joined = np.array([self._said[text] for text in flat], object)
        return joined.reshape(texts.shape)

    def past_searches(self, texts: np.ndarray) -> Searches:
        """Encodes object `[num_requests, history_length]`, as `read_past_searches`."""
        distinct, row = np.unique(texts.astype(str), return_inverse=True)
        if not len(distinct) or distinct[0] != "":
            distinct, row = np.append("", distinct), row + 1
        rows = row.reshape(texts.shape).astype(np.int32)
        return Searches(rows, self.vectors(distinct.tolist()))

    def learn(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Remembers vectors, so that `vectors` need not encode these texts."""
        self._known.update(zip(texts, vectors, strict=True))

    def forget(self) -> None:
        """Forgets all vectors: the encoder has changed."""
        self._known.clear()

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Returns float32 `[len(texts), text_dim]`; encodes each text once."""
        new = sorted({text for text in texts if text not in self._known})
        if new:
            self.learn(new, self.encoder.encode(tf.constant(new)).numpy())
        rows = [self._known[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.text_dim), np.float32)


def _said(texts: tf.Tensor) -> tf.Tensor:
    """Returns texts without the space around them; "" for those without words.

    What has words is not cleaned here: where it is encoded, entities are decoded, and
    only once.
    """
    return tf.where(tf.equal(clean_text(texts), ""), "", tf.strings.strip(texts))
