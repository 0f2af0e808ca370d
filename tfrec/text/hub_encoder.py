"""Encoders of TF-Hub: a preprocessing and an encoder SavedModel."""

import hashlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import packaging.version
import tensorflow as tf

from tfrec.text.clean import clean_text
from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens

# The names of TF-Hub's common interface for texts.
_WORD_IDS, _MASK, _TYPE_IDS = "input_word_ids", "input_mask", "input_type_ids"
_SEQUENCE_OUTPUT, _POOLED_OUTPUT = "sequence_output", "pooled_output"


class HubEncoder(TextEncoder):
    """An encoder and its preprocessor, both loaded by `tensorflow_hub.KerasLayer`.

    `pooling="cls"` is the encoder's own `pooled_output`; `mean` and `attention` pool
    its `sequence_output`.

    Args:
        encoder: Layer from a dict of token tensors to a dict of outputs.
        preprocessor: Layer from string `[batch_size]` to that dict.
        sources: What the two are, for the hash.
        max_length: Tokens of one text at most.
        pooling: `mean`, `cls` or `attention`.
        normalize: L2-normalises the vectors.
    """

    def __init__(
        self,
        encoder: Any,
        preprocessor: Any,
        *,
        sources: Iterable[str],
        max_length: int,
        pooling: str = "mean",
        normalize: bool = True,
        name: str | None = None,
    ) -> None:
        # What a text without words is: [CLS] and [SEP] alone.
        empty = preprocessor(tf.constant([""]))
        long = preprocessor(tf.constant([max_length * "a "]))
        if (width := int(long[_WORD_IDS].shape[1])) < max_length:
            raise ValueError(
                f"`text.max_length` must be at most {width}, the width of what the "
                f"preprocessor gives. Received: {max_length}. Lower it."
            )
        output = _POOLED_OUTPUT if pooling == "cls" else _SEQUENCE_OUTPUT
        outputs = encoder(empty)
        if output not in outputs:
            raise ValueError(
                f"`text.pooling={pooling}` needs an encoder with `{output}`. Received: "
                f"{sorted(outputs)}. Change `text.pooling` or `text.model`."
            )
        super().__init__(
            text_dim=int(outputs[output].shape[-1]),
            max_length=max_length,
            pooling=pooling,
            normalize=normalize,
            name=name,
        )
        self.encoder = encoder
        self.preprocessor = preprocessor
        self._output = output
        self._num_marks = int(tf.reduce_sum(tf.cast(empty[_MASK], tf.int32)))
        self._sources = tuple(sources)

    @property
    def saved_resources(self) -> list[tf.Module]:
        """The loaded models, which may hold tables."""
        return [self.encoder, self.preprocessor]

    def hash_parts(self) -> Iterable[str]:
        """Returns the hashes of both models' files."""
        return self._sources

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        """Cleans and splits string `[batch_size]` by the preprocessor."""
        tokens = self.preprocessor(clean_text(texts))
        token_ids = tf.cast(tokens[_WORD_IDS], tf.int32)
        lengths = tf.reduce_sum(tf.cast(tokens[_MASK] > 0, tf.int32), axis=1)
        has_words = lengths > self._num_marks
        last = tf.maximum(lengths - 1, 0)
        end_ids = tf.gather(token_ids, last, batch_dims=1)
        lengths = tf.where(has_words, tf.minimum(lengths, self.max_length), 0)
        num_tokens = tf.reduce_max(tf.concat([[0], lengths], axis=0))
        places = tf.range(num_tokens)
        # Cut texts keep their end mark, as those of the preprocessor do.
        is_end = places == lengths[:, tf.newaxis] - 1
        cut_ids = tf.where(is_end, end_ids[:, tf.newaxis], token_ids[:, :num_tokens])
        padding_mask = tf.sequence_mask(lengths, num_tokens)
        return TextTokens(tf.where(padding_mask, cut_ids, self.pad_id), padding_mask)

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Returns the states of all tokens, or of the whole text as one token."""
        inputs = {
            _WORD_IDS: token_ids,
            _MASK: tf.cast(padding_mask, tf.int32),
            _TYPE_IDS: tf.zeros_like(token_ids),
        }
        states = self.encoder(inputs, training=training)[self._output]
        return states[:, tf.newaxis] if self._output == _POOLED_OUTPUT else states


def load_hub_encoder(
    location: str,
    preprocessor: str | None,
    *,
    max_length: int,
    pooling: str,
    normalize: bool,
    trainable: bool,
) -> HubEncoder:
    """Loads both models by their handles or from folders.

    Raises:
        ValueError: One cannot be loaded, or is no text model of TF-Hub.
    """
    if not preprocessor:
        raise ValueError(
            "`text.preprocessor` must be set when `text.encoder=tf_hub`. Received: "
            f"{preprocessor!r}. Name the preprocessor that the encoder's page names."
        )
    loaded, sources = [], []
    for field, handle in (("model", location), ("preprocessor", preprocessor)):
        layer, source = _load(field, handle, trainable and field == "model")
        loaded.append(layer)
        sources.append(source)
    return HubEncoder(
        *loaded,
        sources=sources,
        max_length=max_length,
        pooling=pooling,
        normalize=normalize,
    )


def _load(field: str, handle: str, trainable: bool) -> tuple[Any, str]:
    tensorflow_hub = _import_hub()
    try:
        folder = Path(tensorflow_hub.resolve(handle))
        layer = tensorflow_hub.KerasLayer(str(folder), trainable=trainable)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"`text.{field}` must be the handle or the folder of a SavedModel of "
            f"TF-Hub. Received: {handle!r} ({type(error).__name__}: {error}). A handle "
            "needs the network when it is first used; without it set a folder."
        ) from error
    return layer, _source_hash(folder)


def _import_hub() -> Any:
    """Imports TensorFlow Hub, and the ops of preprocessors.

    Its last release, 0.16.1, takes one function out of `pkg_resources`, which
    setuptools has no more since version 82: it is lent one for the import.
    """
    import tensorflow_text  # noqa: F401

    if importlib.util.find_spec("pkg_resources") is not None:
        return importlib.import_module("tensorflow_hub")
    stand_in = types.ModuleType("pkg_resources")
    stand_in.parse_version = packaging.version.parse  # pyright: ignore
    sys.modules["pkg_resources"] = stand_in
    try:
        return importlib.import_module("tensorflow_hub")
    finally:
        del sys.modules["pkg_resources"]


def _source_hash(folder: Path) -> str:
    """Hashes all files; what is trained on is hashed as it is in memory, too."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
