"""Vocabularies in the graph: strings to indices and back."""

from pathlib import Path

import tensorflow as tf

from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX, PADDING_INDEX

_LINE_BREAKS = ("\n", "\r")


class VocabularyLookup(tf.Module):
    r"""Looks strings up as `Vocabulary` does, but inside a graph.

    The tokens are written to a text file, one a line, which becomes an asset of
    the SavedModel that holds this module. A whole line is one token, so tabs,
    quotes and spaces in a token are safe; line breaks are not.

    Args:
        vocabulary: What to look up.
        asset_path: Where to write the tokens. The file must stay until the
            SavedModel is written.

    Raises:
        ValueError: If a token holds a line break.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "brand.txt"
        >>> brands = VocabularyLookup(Vocabulary(["Acme", "Bolt"]), path)
        >>> brands.lookup(tf.constant(["Bolt", "Acme", "?", ""])).numpy()
        array([3, 2, 1, 0], dtype=int32)
    """

    def __init__(self, vocabulary: Vocabulary, asset_path: Path) -> None:
        super().__init__()
        self._table = _table(vocabulary, asset_path)
        special = [""] * NUM_SPECIAL_INDICES
        self._tokens = tf.constant([*special, *vocabulary.tokens], tf.string)

    def lookup(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the int32 indices of strings: "" is 0, unknown ones are 1."""
        index: tf.Tensor | int = OOV_INDEX
        if self._table is not None:
            index = tf.cast(self._table.lookup(values), tf.int32)
        return tf.where(tf.equal(values, ""), PADDING_INDEX, index)

    def tokens(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the strings of int32 indices; padding and unknown are ""."""
        return tf.gather(self._tokens, index)


def _table(vocabulary: Vocabulary, path: Path) -> tf.lookup.StaticHashTable | None:
    if not vocabulary.tokens:
        return None  # TensorFlow makes no table from an empty file.
    _write_tokens(vocabulary, path)
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(path),
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_index_offset=NUM_SPECIAL_INDICES,
        ),
        default_value=OOV_INDEX,
    )


def _write_tokens(vocabulary: Vocabulary, path: Path) -> None:
    for token in vocabulary.tokens:
        if any(line_break in token for line_break in _LINE_BREAKS):
            raise ValueError(
                f"`vocabulary` for '{path.name}' must have tokens without line "
                f"breaks. Received: token={token!r}. Clean the id or value before "
                "preparing the data."
            )
    text = "".join(token + "\n" for token in vocabulary.tokens)
    path.write_bytes(text.encode())
