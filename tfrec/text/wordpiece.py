"""WordPiece in the graph, with the ids of Hugging Face's BERT tokenizer.

`tensorflow_text.FastBertTokenizer` is not that: its normaliser also folds
compatible characters (full-width to half-width, ß to ss), which changes the ids of
one Chinese title in 20, and it takes words by bytes where BERT takes characters.
Here text is normalised as BERT does, step by step, and only the words are looked up
by TensorFlow Text.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from tfrec.text.tokens import TextTokens
from tfrec.text.words import split_words

_MAX_BYTES_PER_CHARACTER = 4
# A private character, which BERT removes from texts: a word of it is unknown.
_UNKNOWN_WORD = "\ue000"


class WordPieceTokenizer(tf.Module):
    """Splits texts as BERT does: cleaned, normalised, greedy WordPieces.

    Args:
        vocabulary: All tokens; the id is the place.
        lower_case: Lowers case.
        strip_accents: Takes accents off; None: as `lower_case`.
        max_length: Tokens of one text at most, [CLS] and [SEP] included.
        cls_token: Starts every text.
        sep_token: Ends every text.
        pad_token: Fills up texts shorter than the longest.
        unknown_token: Stands for words outside the vocabulary.
        suffix_indicator: Starts the pieces inside a word.
        max_characters_per_word: Longer words are unknown as a whole.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lower_case: bool,
        strip_accents: bool | None = None,
        max_length: int,
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        unknown_token: str = "[UNK]",
        suffix_indicator: str = "##",
        max_characters_per_word: int = 100,
    ) -> None:
        super().__init__(name="word_piece_tokenizer")
        self.vocabulary = tuple(vocabulary)
        self.lower_case = lower_case
        self.strip_accents = lower_case if strip_accents is None else strip_accents
        self.max_length = max_length
        self._cls_id, self._sep_id, self.pad_id, self.unknown_id = (
            self._id_of(token)
            for token in (cls_token, sep_token, pad_token, unknown_token)
        )
        self.silent_ids = (self.unknown_id, self._cls_id, self._sep_id)
        self._max_characters = max_characters_per_word
        self._word_piece = tf_text.FastWordpieceTokenizer(
            vocab=list(vocabulary),
            suffix_indicator=suffix_indicator,
            # Counts bytes where BERT counts characters: `_words` does that.
            max_bytes_per_word=max_characters_per_word * _MAX_BYTES_PER_CHARACTER,
            token_out_type=tf.int32,
            unknown_token=unknown_token,
            no_pretokenization=True,
        )

    def __call__(self, texts: tf.Tensor) -> TextTokens:
        """Returns the tokens of string `[batch_size]`."""
        pieces: Any = self._word_piece.tokenize(self._words(texts))
        ids = pieces.merge_dims(1, 2)[:, : self.max_length - 2]
        lengths = ids.row_lengths()
        # One a text, none where there are no words.
        is_text = tf.expand_dims(lengths > 0, axis=1)
        ones: Any = tf.ragged.boolean_mask(tf.ones_like(is_text, tf.int32), is_text)
        ids = tf.concat([ones * self._cls_id, ids, ones * self._sep_id], axis=1)
        lengths = tf.where(lengths > 0, lengths + 2, 0)
        token_ids = ids.to_tensor(default_value=self.pad_id)
        num_tokens = tf.shape(token_ids)[1]
        return TextTokens(token_ids, tf.sequence_mask(lengths, num_tokens))

    def _words(self, texts: tf.Tensor) -> Any:
        """Returns ragged string `[batch_size, num_words]`, normalised."""
        words = split_words(
            texts,
            lower_case=self.lower_case,
            strip_accents=self.strip_accents,
            final_sigma=False,
        )
        num_characters = tf.strings.length(words.flat_values, unit="UTF8_CHAR")
        is_long = num_characters > self._max_characters
        return words.with_flat_values(
            tf.where(is_long, _UNKNOWN_WORD, words.flat_values)
        )

    def _id_of(self, token: str) -> int:
        if token not in self.vocabulary:
            raise ValueError(
                f"The vocabulary must hold the special token {token!r}. Received "
                f"{len(self.vocabulary)} tokens without it. Check the model's folder."
            )
        return self.vocabulary.index(token)
