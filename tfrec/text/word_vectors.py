"""Static word vectors with a weighted mean: the light encoder."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens
from tfrec.text.word_vector_file import WordVectors, read_word_vectors
from tfrec.text.words import split_words

# `a` of SIF: words more frequent than it are damped. The paper's middle value.
_FREQUENT = 1e-3
_WORD = r".*[\p{L}\p{N}].*"  # Not a mark or an emoji.
_PAD_ROW = np.zeros(1, np.float32)


class WordVectorEncoder(TextEncoder):
    """Mean of the vectors of a text's words; words without a vector are left out.

    With `weighting="frequency"` word w counts `a / (a + p(w))`, after Arora et al.
    2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings" (SIF). p is
    Zipf's law over the order of the file, `p = 1 / (rank · H)`.

    Args:
        word_vectors: Words by frequency, and their vectors.
        max_length: Words of one text at most.
        pooling: `mean` or `attention`.
        normalize: L2-normalises the vectors.
        weighting: `frequency` or `uniform`.
    """

    def __init__(
        self,
        word_vectors: WordVectors,
        *,
        max_length: int,
        pooling: str = "mean",
        normalize: bool = True,
        weighting: str = "frequency",
        name: str | None = None,
    ) -> None:
        if pooling == "cls":
            raise ValueError(
                "`text.pooling` must be `mean` or `attention` for word vectors, which "
                "have no [CLS]. Received: 'cls'. Change it."
            )
        words, vectors = word_vectors
        super().__init__(
            text_dim=vectors.shape[1],
            max_length=max_length,
            pooling=pooling,
            normalize=normalize,
            name=name,
        )
        # Row 0 is padding.
        self._vectors = self.add_weight(
            name="word_vectors",
            shape=(len(words) + 1, self.text_dim),
            initializer="zeros",
        )
        self._vectors[1:].assign(vectors)
        weights = word_weights(len(words), weighting)
        self._word_weights = tf.constant(np.concatenate([_PAD_ROW, weights]))
        self._rows = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant([word.encode() for word in words]),
                tf.range(1, len(words) + 1),
            ),
            default_value=0,
        )
        joined = "\n".join(words).encode()
        self._hash_parts = (hashlib.sha256(joined).hexdigest(), weighting)

    @property
    def saved_resources(self) -> list[tf.Module]:
        """The table of words."""
        return [self._rows]

    def hash_parts(self) -> Iterable[str]:
        """Returns the words and their weights."""
        return self._hash_parts

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        """Looks up the words of string `[batch_size]`; ids are rows of vectors."""
        rows = tf.ragged.map_flat_values(self._rows.lookup, _split(texts))
        rows = tf.ragged.boolean_mask(rows, rows > 0)[:, : self.max_length]
        token_ids = rows.to_tensor()
        num_tokens = tf.shape(token_ids)[1]
        return TextTokens(token_ids, tf.sequence_mask(rows.row_lengths(), num_tokens))

    def count_words(self, texts: Sequence[str]) -> tuple[int, int]:
        """Returns how many words texts have, and how many have no vector.

        Marks are no words here: few files hold all of them, and they say little.
        """
        encoded = [text.encode("utf-8", "replace") for text in texts]
        words = _split(tf.constant(encoded, tf.string, [len(texts)])).flat_values
        words = tf.boolean_mask(words, tf.strings.regex_full_match(words, _WORD))
        is_unknown = self._rows.lookup(words) == 0
        return len(words), int(tf.math.count_nonzero(is_unknown))

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Returns the vectors of the words times their weights."""
        vectors = tf.cast(tf.gather(self._vectors, token_ids), tf.float32)
        return vectors * tf.gather(self._word_weights, token_ids)[:, :, tf.newaxis]


def _split(texts: tf.Tensor) -> Any:
    return split_words(texts, lower_case=True, strip_accents=False)


def word_weights(num_words: int, weighting: str) -> np.ndarray:
    """Returns float32 `[num_words]`, the weights of words ordered by frequency."""
    if weighting == "uniform":
        return np.ones(num_words, np.float32)
    ranks = np.arange(1, num_words + 1)
    frequencies = 1 / ranks / np.sum(1 / ranks)
    return (_FREQUENT / (_FREQUENT + frequencies)).astype(np.float32)


def load_word_vectors(
    location: str, *, max_length: int, pooling: str, normalize: bool, weighting: str
) -> WordVectorEncoder:
    """Reads the vectors of a file in the text format of word2vec or GloVe."""
    path = Path(location)
    if not path.is_file():
        raise FileNotFoundError(
            "`text.model` must be a file of word vectors in text format, plain or .gz. "
            f"Received: {location!r}. Set the path of one."
        )
    return WordVectorEncoder(
        read_word_vectors(path),
        max_length=max_length,
        pooling=pooling,
        normalize=normalize,
        weighting=weighting,
    )
