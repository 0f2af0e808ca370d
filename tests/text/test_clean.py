import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_preprocessor
from tfrec.text.clean import clean_text


def clean(*texts: str | bytes) -> list[str]:
    cleaned = clean_text(tf.constant(list(texts), tf.string, [len(texts)]))
    return [text.decode() for text in cleaned.numpy()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red <b>shoe</b><br/>size&nbsp;42", "Red shoe size 42"),
        ("<p class='a' id=x>Sock</p><P>Hat</P>", "Sock Hat"),
        ("H<sub>2</sub>O", "H2O"),
        ("Tom &amp; Jerry &quot;3&quot;", 'Tom & Jerry "3"'),
        ("&lt;new&gt; &#39;5 &apos;6 10&deg;", "<new> '5 '6 10°"),
        ("one<!-- no -->two", "one two"),
        ("<script>var a = '<b>';</script>Lamp<style>p{}</style>", "Lamp"),
        ("<!DOCTYPE html><div><img src=\"a>.png\" alt='b'>Lamp</div>", "Lamp"),
        ("  a \t\n b\u3000c\u00a0\u2003d ", "a b c d"),
    ],
)
def test_markup_entities_and_gaps_go(text: str, expected: str) -> None:
    assert clean(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "a<b and c>d",
        "x<y>z",
        "I <3 cats > dogs",
        "size <40 & >30",
        "AT&T",
        "鞋子红色 ２０２０款（新）",
        "繁體 👟👩‍👩‍👧 é İ ß",
        "List<String>",
        "a <br",
    ],
)
def test_what_is_no_markup_stays(text: str) -> None:
    assert clean(text) == [text]


def test_entities_are_decoded_once() -> None:
    assert clean("&amp;lt; &amp;amp;") == ["&lt; &amp;"]


def test_texts_of_markup_alone_become_empty() -> None:
    assert clean("", " \n", "<br><p></p>", "&nbsp;") == [""] * 4


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert clean(b"sh\xffoe \xe9", b"\xf0\x9f") == ["sh\ufffdoe \ufffd", "\ufffd"]


def test_no_texts_and_tables_of_texts_keep_their_shape() -> None:
    assert clean_text(tf.constant([], tf.string)).shape == (0,)
    table = clean_text(tf.constant([["<b>a</b>"], ["b "]]))
    assert table.numpy().tolist() == [[b"a"], [b"b"]]


def test_texts_are_cleaned_the_same_everywhere() -> None:
    texts = np.array(
        [b"<p>a &amp; b</p>", b"\xff", b"", "\u706f  \u5177".encode()], object
    )
    check_preprocessor(clean_text, [texts])
