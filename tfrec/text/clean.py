"""Takes markup and stray white space out of texts, in core TensorFlow ops."""

import tensorflow as tf

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
    (r"(?i)&(?:nbsp|ensp|emsp|#160|#xa0);", " "),
    (r"(?i)&(?:quot|#34|#x22);", '"'),
    (r"(?i)&(?:apos|#0*39|#x27);", "'"),
    (r"(?i)&(?:lt|#60|#x3c);", "<"),
    (r"(?i)&(?:gt|#62|#x3e);", ">"),
    (r"(?i)&(?:ndash|#8211|#x2013);", "–"),
    (r"(?i)&(?:mdash|#8212|#x2014);", "—"),
    (r"(?i)&(?:lsquo|#8216|#x2018);", "‘"),
    (r"(?i)&(?:rsquo|#8217|#x2019);", "’"),
    (r"(?i)&(?:ldquo|#8220|#x201c);", "“"),
    (r"(?i)&(?:rdquo|#8221|#x201d);", "”"),
    (r"(?i)&(?:reg|#174|#xae);", "®"),
    (r"(?i)&(?:trade|#8482|#x2122);", "™"),
    (r"(?i)&(?:deg|#176|#xb0);", "°"),
    # Last, so that `&amp;lt;` becomes `&lt;`, which the text means.
    (r"(?i)&(?:amp|#38|#x26);", "&"),
    (_SPACE, " "),
)
# What changes a cleaned text changes the vectors; part of every encoder's hash.
CLEAN_RULES = repr(_REPLACEMENTS)


def clean_text(texts: tf.Tensor) -> tf.Tensor:
    """Strips HTML tags, decodes common entities and collapses white space.

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
    return tf.strings.strip(texts)
