"""Decodes the character references of HTML, in core TensorFlow ops."""

from html.entities import html5, name2codepoint

import tensorflow as tf

_ENTITY = r"&(?:#[0-9]+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);"
_DECIMAL = r"&#0*[0-9]{1,7};"
_HEXADECIMAL = r"&#[xX]0*[0-9A-Fa-f]{1,6};"
_AROUND_DIGITS = r"^&#[xX]?0*|;$"
_NUM_DIGITS = 7  # Of the last code point, U+10FFFF, in decimal.
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_LAST_LATIN_LETTER = 0x17F  # Of Latin Extended-A.
_SYMBOLS = (
    *("apos", "star", "starf", "check", "cross", "phone", "female", "male", "hyphen"),
    *("dash", "horbar", "frac13", "frac23", "frac15", "frac25", "frac35", "frac45"),
    *("frac16", "frac56", "frac18", "frac38", "frac58", "frac78", "sung", "numero"),
)
# No UTF-8 text holds this byte.
_MARK = b"\xff"


def _named_characters() -> dict[str, str]:
    """Returns the names of HTML 4, of Latin letters, and some of HTML 5."""
    named = {name: html5[f"{name};"] for name in (*name2codepoint, *_SYMBOLS)}
    for name, text in html5.items():
        is_letter = len(text) == 1 and text.isalpha()
        if name.endswith(";") and is_letter and ord(text) <= _LAST_LATIN_LETTER:
            named[name[:-1]] = text
    # Of letters, capitals are others: `&Eacute;`. What shouts elsewhere means the same.
    loud = {n.upper(): c for n, c in named.items() if not c.isalpha()}
    return loud | named


_NAMED = _named_characters()
# `&#150;` means what Windows had there. Five places were empty, and stay.
_WINDOWS = [
    ord(bytes([code]).decode("cp1252", "ignore") or chr(code))
    for code in range(0x80, 0xA0)
]
# What changes decoded texts.
ENTITY_RULES = repr((_ENTITY, _DECIMAL, _HEXADECIMAL, _WINDOWS, sorted(_NAMED.items())))


def decode_entities(texts: tf.Tensor) -> tf.Tensor:
    """Decodes named and numeric references once: `&amp;lt;` becomes `&lt;`.

    Named ones are those of HTML 4, of Latin letters, and of stars and fractions;
    others stay, and so do numbers that are no character. One pass over the texts,
    and none where none has a reference.

    Args:
        texts: string `[num_texts]`, UTF-8.

    Returns:
        string `[num_texts]`, UTF-8.
    """
    has_some = tf.strings.regex_full_match(texts, rf"(?s).*{_ENTITY}.*")
    return tf.cond(tf.reduce_any(has_some), lambda: _decode(texts), lambda: texts)


def _decode(texts: tf.Tensor) -> tf.Tensor:
    marked = tf.strings.regex_replace(texts, _ENTITY, _MARK + rb"\0" + _MARK)
    pieces = tf.strings.split(marked, _MARK)
    distinct, row = tf.unique(pieces.flat_values)
    places = tf.where(tf.strings.regex_full_match(distinct, _ENTITY))
    decoded = _characters(tf.gather_nd(distinct, places))
    decoded = tf.tensor_scatter_nd_update(distinct, places, decoded)
    pieces = pieces.with_flat_values(tf.gather(decoded, row))
    return tf.strings.reduce_join(pieces, axis=1)


def _characters(entities: tf.Tensor) -> tf.Tensor:
    """Returns the character of each of string `[num_entities]`, or what it was."""
    names = tf.constant([f"&{name};" for name in _NAMED])
    is_name = tf.equal(entities[:, tf.newaxis], names)
    named = tf.gather(list(_NAMED.values()), tf.argmax(is_name, axis=1))
    decoded = tf.where(tf.reduce_any(is_name, axis=1), named, entities)
    code_point, is_character = _code_points(entities)
    numbered = tf.strings.unicode_encode(code_point[:, tf.newaxis], "UTF-8")
    return tf.where(is_character, numbered, decoded)


def _code_points(entities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns int32 code points of numeric references, and where there is one."""
    is_hexadecimal = tf.strings.regex_full_match(entities, _HEXADECIMAL)
    is_number = is_hexadecimal | tf.strings.regex_full_match(entities, _DECIMAL)
    digits = tf.strings.regex_replace(tf.strings.lower(entities), _AROUND_DIGITS, "")
    digits = tf.strings.join(["0" * _NUM_DIGITS, tf.where(is_number, digits, "")])
    digits = tf.strings.substr(digits, -_NUM_DIGITS, _NUM_DIGITS)
    digits = tf.io.decode_raw(digits, tf.uint8, fixed_length=_NUM_DIGITS)
    digits = tf.cast(digits, tf.int32)  # [num_entities, _NUM_DIGITS]
    digits -= tf.where(digits < ord("a"), ord("0"), ord("a") - 10)
    base = tf.where(is_hexadecimal, 16, 10)
    code_point = tf.zeros_like(base)
    for place in range(_NUM_DIGITS):
        code_point = code_point * base + digits[:, place]
    is_windows = (code_point >= 0x80) & (code_point < 0xA0)
    windows = tf.gather(_WINDOWS, tf.where(is_windows, code_point - 0x80, 0))
    code_point = tf.where(is_windows, windows, code_point)
    is_surrogate = (code_point >= _SURROGATES[0]) & (code_point <= _SURROGATES[1])
    is_number &= (code_point > 0) & (code_point <= _LAST_CODE_POINT)
    is_number &= tf.logical_not(is_surrogate)
    return tf.where(is_number, code_point, ord("?")), is_number
