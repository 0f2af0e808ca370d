"""WordPiece in the graph, with the ids of Hugging Face's BERT tokenizer."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from tfrec.text.clean import clean_text
from tfrec.text.tokens import TextTokens

_MAX_BYTES_PER_CHARACTER = 4
# A private character, in no vocabulary: a word of it is unknown.
_UNKNOWN_WORD = "\ue000"
_CJK = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
# Words of their own: punctuation as BERT sees it, and CJK characters.
_SINGLE = rf"([\p{{P}}$+<=>^`|~{_CJK}])"


class WordPieceTokenizer(tf.Module):
    """Splits texts as BERT does: cleaned, normalised, greedy WordPieces.

    Args:
        vocabulary: All tokens; the id is the place.
        lower_case: Lowers case and strips accents.
        max_length: Tokens of one text at most, [CLS] and [SEP] included.
        cls_token, sep_token, pad_token, unknown_token: Special tokens.
        suffix_indicator: Starts the pieces inside a word.
        max_characters_per_word: Longer words are unknown as a whole.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lower_case: bool,
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
        self.max_length = max_length
        self._special = [
            self._id_of(token) for token in (cls_token, sep_token, pad_token)
        ]
        self._id_of(unknown_token)
        self._max_characters = max_characters_per_word
        self._normalizer = tf_text.FastBertNormalizer(
            lower_case_nfd_strip_accents=lower_case
        )
        self._word_piece = tf_text.FastWordpieceTokenizer(
            vocab=list(vocabulary),
            suffix_indicator=suffix_indicator,
            # Counts bytes where BERT counts characters: `_without_long_words` does.
            max_bytes_per_word=max_characters_per_word * _MAX_BYTES_PER_CHARACTER,
            token_out_type=tf.int32,
            unknown_token=unknown_token,
        )

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        return self._special[2]

    def __call__(self, texts: tf.Tensor) -> TextTokens:
        """Returns the tokens of string `[batch_size]`."""
        normalized: Any = self._normalizer.normalize(clean_text(texts))
        texts = self._without_long_words(normalized)
        ids: Any = self._word_piece.tokenize(texts)[:, : self.max_length - 2]
        lengths = ids.row_lengths()
        cls_id, sep_id, pad_id = self._special
        # One a text, none where there are no words.
        is_text = tf.expand_dims(lengths > 0, axis=1)
        ones: Any = tf.ragged.boolean_mask(tf.ones_like(is_text, tf.int32), is_text)
        ids = tf.concat([ones * cls_id, ids, ones * sep_id], axis=1)
        lengths = tf.where(lengths > 0, lengths + 2, 0)
        token_ids = ids.to_tensor(default_value=pad_id)
        num_tokens = tf.shape(token_ids)[1]
        return TextTokens(token_ids, tf.sequence_mask(lengths, num_tokens))

    def _without_long_words(self, texts: tf.Tensor) -> tf.Tensor:
        """Makes words of too many characters one unknown word, as BERT does."""
        texts = tf.strings.regex_replace(texts, _SINGLE, r" \1 ")
        words: Any = tf.strings.split(texts)
        is_long = tf.strings.length(words.flat_values, "UTF8_CHAR")
        is_long = is_long > self._max_characters
        words = words.with_flat_values(
            tf.where(is_long, _UNKNOWN_WORD, words.flat_values)
        )
        return tf.strings.reduce_join(words, axis=1, separator=" ")

    def _id_of(self, token: str) -> int:
        if token not in self.vocabulary:
            raise ValueError(
                f"The vocabulary must hold the special token {token!r}. Received "
                f"{len(self.vocabulary)} tokens without it. Check the model's folder."
            )
        return self.vocabulary.index(token)
