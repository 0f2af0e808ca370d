"""What every text encoder is: texts in, one vector a text out."""

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from tfrec.text.clean import CLEAN_RULES
from tfrec.text.pooling import build_pooling
from tfrec.text.tokens import TextTokens

# Of `encoder_hash`: goes up with any other change of what encoders give.
_HASH_VERSION = "3"
_HASH_LENGTH = 32


class TextEncoder(tf.keras.layers.Layer):
    """Encodes texts as vectors.

    Texts without words (empty, white space, markup alone) have no real token and
    become zeros, and so do texts of unknown words alone. Subclasses give `tokenize`,
    or `numpy_tokenize` where that cannot be done in the graph, and `token_states`.

    Attributes:
        text_dim: Width of the vectors.
        max_length: Tokens of one text at most, [CLS] and [SEP] included.
        tokenizes_in_graph: False if texts can only be encoded ahead: then items have
            vectors, but searches and histories of requests are not read.
        unknown_id: Token that stands for words out of the vocabulary; None for
            encoders that have no such token.
        silent_ids: Tokens that say nothing: that of unknown words, and the marks
            around a text.
        loaded_hash: `encoder_hash` as it was loaded, before anything was trained;
            None until `build_text_encoder` has set it.
    """

    tokenizes_in_graph: bool = True
    pad_id: int = 0
    unknown_id: int | None = None
    silent_ids: tuple[int, ...] = ()
    loaded_hash: str | None = None

    def __init__(
        self,
        *,
        text_dim: int,
        max_length: int,
        pooling: str = "mean",
        normalize: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or "text_encoder")
        self.text_dim = text_dim
        self.max_length = max_length
        self.normalize = normalize
        self._pooling_name = pooling
        self._pooling = build_pooling(pooling)
        if isinstance(self._pooling, tf.keras.layers.Layer):
            self._pooling.build(tf.TensorShape([None, None, text_dim]))

    @property
    def encoder_hash(self) -> str:
        """Hex; computed anew at each look, so it follows trained weights.

        Two encoders of one hash give the same vectors: it holds the weights, the
        vocabulary, pooling, lengths and the rules of cleaning.
        """
        digest = hashlib.sha256()
        settings = (_HASH_VERSION, type(self).__name__, CLEAN_RULES, self.max_length)
        settings += (self.normalize, self._pooling_name, self.text_dim)
        for part in (*map(repr, settings), *self.hash_parts()):
            digest.update(f"{len(part)}:".encode())
            digest.update(part.encode())
        for weight in self.weights:
            array = weight.numpy()
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:_HASH_LENGTH]

    @property
    def saved_resources(self) -> list[tf.Module]:
        """Look-up tables and loaded models that an export must keep hold of."""
        return []

    @functools.cached_property
    def graph_call(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """`call` on token ids and mask as one graph, for batches of every shape."""
        signature = [
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.bool),
        ]

        # Nothing here needs AutoGraph, which takes longer than all the rest.
        @tf.function(input_signature=signature, autograph=False)
        def graph_call(token_ids: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
            return self(TextTokens(token_ids, padding_mask), training=False)

        return graph_call

    @functools.cached_property
    def _graph_encode(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`encode` as one graph: traced once, however many graphs call it."""
        signature = [tf.TensorSpec([None], tf.string)]
        return tf.function(
            self._encode_said, input_signature=signature, autograph=False
        )

    @abstractmethod
    def hash_parts(self) -> Iterable[str]:
        """Returns what changes the vectors beside weights and common settings."""

    @abstractmethod
    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Returns float `[batch_size, num_tokens, text_dim]` of a batch not empty."""

    def set_training(
        self, training: str, *, num_layers: int, adapter_rank: int, seed: int = 0
    ) -> None:
        """Decides what is trained on, once, right after loading.

        Args:
            training: `frozen` or `full`; some encoders know `last_layers` and
                `adapters`, too.
            num_layers: Of `last_layers`.
            adapter_rank: Of `adapters`.
            seed: Of `adapters`.
        """
        if training not in ("frozen", "full"):
            raise ValueError(
                "`text.training` must be `frozen` or `full` for "
                f"{type(self).__name__}. Received: {training!r}. Change it, or take a "
                "model of `text.encoder: transformers`."
            )
        self.trainable = training == "full"

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        """Cleans and splits string `[batch_size]` into tokens, in the graph."""
        raise ValueError(
            f"{type(self).__name__} cannot split texts into tokens in the graph "
            f"(its tokenizer is no WordPiece). Received: {texts}. Encode item texts "
            "ahead with `encode_cached`, or choose a WordPiece model such as BERT or "
            "MiniLM as `text.model` where searches must be read, too."
        )

    def numpy_tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Returns `tokenize` of texts in memory, as NumPy arrays."""
        # Lone surrogates, which no UTF-8 can hold, become question marks.
        encoded = [text.encode("utf-8", "replace") for text in texts]
        tokens = self.tokenize(tf.constant(encoded, tf.string, [len(texts)]))
        return TextTokens(*(value.numpy() for value in tokens))

    def encode(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[batch_size, text_dim]` of string `[batch_size]`.

        The encoder is not run where no text has words. All graphs that call this
        share one function, which is large; eagerly it runs op by op.
        """
        if tf.executing_eagerly():
            return self._encode_said(texts)
        return self._graph_encode(texts)

    def _encode_said(self, texts: tf.Tensor) -> tf.Tensor:
        # Most requests search for nothing.
        return tf.cond(
            tf.reduce_any(tf.not_equal(tf.strings.strip(texts), "")),
            lambda: self(self.tokenize(texts)),
            lambda: tf.zeros([tf.shape(texts)[0], self.text_dim]),
        )

    def call(self, tokens: TextTokens, training: bool = False) -> tf.Tensor:
        """Returns float32 `[batch_size, text_dim]`; zeros where nothing is said."""
        token_ids, padding_mask = tokens
        num_texts = tf.shape(token_ids)[0]
        # Models stumble over empty batches: at least one text of one token.
        missing = tf.maximum(1 - tf.shape(token_ids), 0)
        padding = tf.stack([tf.zeros_like(missing), missing], axis=1)
        token_ids = tf.pad(token_ids, padding, constant_values=self.pad_id)
        padding_mask = tf.pad(padding_mask, padding)
        # Frozen, the cache holds what `call` gives: nothing is dropped out.
        training = training and self.trainable
        states = self.token_states(token_ids, padding_mask, training)
        vectors = tf.cast(self.pool(states, padding_mask), tf.float32)
        if self.normalize:
            vectors = tf.math.l2_normalize(vectors, axis=1)
        is_said = self.is_said(TextTokens(token_ids, padding_mask))
        vectors = tf.where(is_said[:, tf.newaxis], vectors, 0.0)[:num_texts]
        return tf.ensure_shape(vectors, [None, self.text_dim])

    def count_words(self, texts: Sequence[str]) -> tuple[int, int]:
        """Returns how many words, or pieces, texts have, and how many are unknown."""
        token_ids, padding_mask = self.numpy_tokenize(texts)
        is_unknown = np.zeros_like(padding_mask)
        if self.unknown_id is not None:
            is_unknown = padding_mask & (token_ids == self.unknown_id)
        is_known = padding_mask & ~np.isin(token_ids, tuple(self.silent_ids))
        num_unknown = int(is_unknown.sum())
        return int(is_known.sum()) + num_unknown, num_unknown

    def is_said(self, tokens: TextTokens) -> tf.Tensor:
        """Returns bool `[batch_size]`: True for texts with a word that is known."""
        token_ids, says = tokens
        for silent_id in self.silent_ids:
            says = tf.logical_and(says, tf.not_equal(token_ids, silent_id))
        return tf.reduce_any(says, axis=1)

    def pool(self, states: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Returns `[batch_size, text_dim]` of the states of the tokens."""
        return self._pooling(states, padding_mask)
