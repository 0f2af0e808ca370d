"""Vocabularies in the graph: strings to indices and back."""

from collections.abc import Mapping, Sequence
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
        spellings: Other strings that mean a token; tokens themselves keep theirs.

    Raises:
        ValueError: If a token or spelling holds a line break.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "brand.txt"
        >>> brands = VocabularyLookup(Vocabulary(["Acme", "Bolt"]), path)
        >>> brands.lookup(tf.constant(["Bolt", "Acme", "?", ""])).numpy()
        array([3, 2, 1, 0], dtype=int32)
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        asset_path: Path,
        *,
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        known = dict.fromkeys(vocabulary.tokens)
        others = {s: t for s, t in (spellings or {}).items() if s and s not in known}
        self._table = _table([*vocabulary.tokens, *others], asset_path)
        self._meant: tf.Tensor | None = None
        if others:  # In the table they follow the tokens.
            index = vocabulary.lookup(list(others.values()))
            self._meant = tf.constant([*range(len(vocabulary)), *index], tf.int32)
        special = [""] * NUM_SPECIAL_INDICES
        self._tokens = tf.constant([*special, *vocabulary.tokens], tf.string)

    def lookup(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the int32 indices of strings: "" is 0, unknown ones are 1."""
        index: tf.Tensor | int = OOV_INDEX
        if self._table is not None:
            index = tf.cast(self._table.lookup(values), tf.int32)
            if self._meant is not None:
                index = tf.gather(self._meant, index)
        return tf.where(tf.equal(values, ""), PADDING_INDEX, index)

    def tokens(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the strings of int32 indices; padding and unknown are ""."""
        return tf.gather(self._tokens, index)


def _table(tokens: Sequence[str], path: Path) -> tf.lookup.StaticHashTable | None:
    if not tokens:
        return None  # TensorFlow makes no table from an empty file.
    _write_tokens(tokens, path)
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


def _write_tokens(tokens: Sequence[str], path: Path) -> None:
    for token in tokens:
        if any(line_break in token for line_break in _LINE_BREAKS):
            raise ValueError(
                f"`vocabulary` for '{path.name}' must have tokens without line "
                f"breaks. Received: token={token!r}. Clean the id or value before "
                "preparing the data."
            )
    text = "".join(token + "\n" for token in tokens)
    path.write_bytes(text.encode())
