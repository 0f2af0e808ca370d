"""Takes markup and stray white space out of texts, in core TensorFlow ops."""

from collections.abc import Sequence

import tensorflow as tf

from tfrec.text.entities import ENTITY_RULES, decode_entities

# Marks inside a word (H<sub>2</sub>O) vanish; every other tag parts two words.
_INLINE_TAGS = (
    "b|bdi|bdo|big|cite|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|strike|strong|"
    "sub|sup|tt|u|var|wbr"
)
_OTHER_TAGS = (
    "a|abbr|acronym|address|applet|area|article|aside|audio|base|basefont|blockquote|"
    "body|br|button|canvas|caption|center|code|col|colgroup|data|datalist|dd|details|"
    "dialog|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frame|frameset|"
    "h[1-6]|head|header|hgroup|hr|html|iframe|img|input|label|legend|li|link|main|map|"
    "math|menu|meta|meter|nav|nobr|noframes|noscript|object|ol|optgroup|option|output|"
    "p|param|path|picture|pre|progress|rp|rt|ruby|search|section|select|slot|source|"
    "span|summary|svg|table|tbody|td|template|textarea|tfoot|th|thead|time|title|tr|"
    "track|ul|video"
)
# Always with a value: `a<b and c>d` is no tag.
_ATTRIBUTES = r"""(?:\s+[a-z0-9:_-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s<>"']+)))*"""
# What BERT takes for white space; other control characters are no gap between words.
_SPACE = r"[\t\n\r\p{Z}]+"
# In order; RE2 syntax. Only names of HTML are tags: `a < b`, `<3` and `x<y>` stay.
_REPLACEMENTS = (
    (r"(?is)<!--.*?-->", " "),
    (r"(?is)<(?:script|style)\b[^<>]*>.*?</(?:script|style)\s*>", " "),
    (r"(?i)<!doctype[^<>]*>", " "),
    (rf"(?i)</?(?:{_INLINE_TAGS}){_ATTRIBUTES}\s*/?>", ""),
    (rf"(?i)</?(?:{_OTHER_TAGS}){_ATTRIBUTES}\s*/?>", " "),
)
# What changes a cleaned text changes the vectors; part of every encoder's hash.
CLEAN_RULES = repr((_REPLACEMENTS, ENTITY_RULES, _SPACE))


def clean_text(texts: tf.Tensor) -> tf.Tensor:
    """Strips HTML tags, decodes entities (`decode_entities`), collapses white space.

    Chinese, emoji and full-width forms stay as they come. Bytes that are no UTF-8
    become U+FFFD.

    Args:
        texts: string, any shape.

    Returns:
        string, the same shape, UTF-8.
    """
    texts = tf.strings.unicode_transcode(
        texts, input_encoding="UTF-8", output_encoding="UTF-8", errors="replace"
    )
    for pattern, replacement in _REPLACEMENTS:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    # Behind the tags: what is written `&lt;b&gt;` is meant to be read.
    decoded = tf.reshape(decode_entities(tf.reshape(texts, [-1])), tf.shape(texts))
    texts = tf.ensure_shape(decoded, texts.shape)
    return tf.strings.strip(tf.strings.regex_replace(texts, _SPACE, " "))


def clean_texts(texts: Sequence[str]) -> list[str]:
    """Returns `clean_text` of texts in memory; half of a surrogate pair becomes `?`."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    cleaned = clean_text(tf.constant(encoded, tf.string, [len(texts)])).numpy()
    return [text.decode() for text in cleaned]
