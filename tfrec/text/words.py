"""Splits texts into words as BERT does, in the graph."""

from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from tfrec.text.clean import clean_text

_CONTROL = r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}]"
_CJK = (
    r"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}])"
)
# Every character of ASCII that is neither letter nor digit counts, symbols too.
_PUNCTUATION = r"([\p{P}$+<=>^`|~])"
_ALONE = r" \1 "


def split_words(
    texts: tf.Tensor,
    *,
    lower_case: bool,
    strip_accents: bool,
    final_sigma: bool = True,
) -> Any:
    """Cleans texts and splits them into words.

    Chinese characters and punctuation marks are words of their own; control
    characters vanish.

    Args:
        texts: string `[batch_size]`.
        lower_case: Lowers case.
        strip_accents: Takes accents off (canonical decomposition without marks).
        final_sigma: Lowers a Greek Σ at the end of a word to ς, as Python does; BERT
            has σ everywhere.

    Returns:
        Ragged string `[batch_size, num_words]`.
    """
    texts = tf.strings.regex_replace(clean_text(texts), _CONTROL, "")
    texts = tf.strings.regex_replace(texts, _CJK, _ALONE)
    if strip_accents:
        decomposed: Any = tf_text.normalize_utf8(texts, "NFD")
        texts = tf.strings.regex_replace(decomposed, r"\p{Mn}", "")
    if lower_case:
        if not final_sigma:
            texts = tf.strings.regex_replace(texts, "Σ", "σ")
        texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, _PUNCTUATION, _ALONE)
    return tf.strings.split(texts)
