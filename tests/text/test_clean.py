import html
from html.entities import name2codepoint

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
        ("x<var>y</var><wbr>z <q>a</q>", "xyz a"),
        ("<details><summary>Oak</summary>Lamp</details>", "Oak Lamp"),
        ("<figure><svg viewBox='0 0 1 1'/>Cat<figcaption>3 cm", "Cat 3 cm"),
        ("Tom &amp; Jerry &quot;3&quot;", 'Tom & Jerry "3"'),
        ("&lt;new&gt; &#39;5 &apos;6 10&deg;", "<new> '5 '6 10°"),
        ("one<!-- no -->two", "one two"),
        (
            "Cr&egrave;me &Eacute;t&eacute; &#9733;SALE&starf; &bull;",
            "Crème Été ★SALE★ •",
        ),
        ("&frac12; &frac13; &ordm; &euro;5 &copy;&#xAE;&#x2122;", "½ ⅓ º €5 ©®™"),
        ("&laquo;a&raquo; &bdquo;b&ldquo; &lsquo;c&rsquo;", "«a» „b“ ‘c’"),
        ("&scaron;&#333;&#X14D;&#0000233;", "šōōé"),
        # As Windows numbered them.
        ("Olay&#153; 1&#150;2 &#x92;", "Olay™ 1–2 ’"),
        ("&#65288;&#128095;&#x1F45F;&#65289;", "（👟👟）"),
        ("3&thinsp;cm&ensp;&NBSP;x&#10;2", "3 cm x 2"),
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
        "&nosuch; &; &#; &#x; &#xg; & eacute;",
        "&eacute &#233",
        # No characters: nothing, surrogates, behind the last plane, many digits.
        "&#0; &#xD800; &#57343; &#1114112; &#x110000; &#123456789012345;",
    ],
)
def test_what_is_no_markup_stays(text: str) -> None:
    assert clean(text) == [text]


def test_entities_are_decoded_once() -> None:
    assert clean("&amp;lt; &amp;amp;") == ["&lt; &amp;"]
    assert clean("&amp;eacute; &#38;#233; &lt;b&gt;") == ["&eacute; &#233; <b>"]


def test_names_and_numbers_mean_what_they_mean_to_python() -> None:
    texts = [f"a&{name};b" for name in name2codepoint]
    texts += [f"a&#{code};b" for code in (*range(33, 0x300), 0x2605, 0x1F45F)]
    expected = [" ".join(html.unescape(text).split()) for text in texts]
    # Python takes out what stands for no character; here it stays.
    empty = [f"a&#{code};b" for code in (0x7F, 0x81, 0x8D, 0x8F, 0x90, 0x9D)]
    found = dict(zip(texts, clean(*texts), strict=True))
    for text, wanted in zip(texts, expected, strict=True):
        assert text in empty or found[text] == wanted


def test_a_text_is_decoded_alike_alone_and_beside_others() -> None:
    texts = ["&eacute;", "a\x00b", "plain", "", "é &eacute;&eacute; &nosuch;"]
    assert clean(*texts) == [clean(text)[0] for text in texts]
    assert clean(*texts) == ["é", "a\x00b", "plain", "", "é éé &nosuch;"]


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
    entities = np.array([b"cr&egrave;me", b"&#9733; &#x2605;", b"&nosuch;"], object)
    check_preprocessor(clean_text, [entities])
