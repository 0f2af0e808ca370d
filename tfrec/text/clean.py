"""Takes markup and stray white space out of texts, in core TensorFlow ops."""

import tensorflow as tf

from tfrec.text.entities import ENTITY_RULES, decode_entities

# Marks inside a word (H<sub>2</sub>O) vanish; every other tag parts two words.
_INLINE_TAGS = "b|big|del|em|font|i|ins|mark|s|small|strong|sub|sup|u"
_OTHER_TAGS = (
    "a|abbr|address|article|aside|blockquote|body|br|button|center|code|dd|div|dl|dt|"
    "fieldset|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|label|li|"
    "link|main|meta|nav|object|ol|option|p|param|picture|pre|section|select|source|"
    "span|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video|wbr"
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
