import gzip
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers

from tests.contracts import check_preprocessor
from tests.text.helpers import VOCABULARY, write_vocabulary
from tfrec.text.transformers_encoder import word_piece_tokenizer
from tfrec.text.wordpiece import WordPieceTokenizer

CHINESE_TITLES = Path("../shared/data/chinese/product_titles_ner.tsv.gz")
ENGLISH = [
    "Red shoes, size 42 (new!) - 100% cotton",
    "RED SHOES & blue-socks: $5 ~ ^ ` | = + <3",
    "déjà vu Ångström naïve İstanbul ß Straße ΣΑΣ",
    "don't re-order... e.g. 3.5mm",
]
CHINESE = [
    "红色鞋子２０２０新款（包邮）",
    "3q橘汁饮料 500ml*12瓶 red鞋shoe",
    "繁體中文鞋子、日本語のシューズ 한국어 신발",
    "Ａｄｉｄａｓ　ｓｈｏｅ ｱﾃﾞｨﾀﾞｽ",
]
ODD = [
    "👟 red👟shoe 👩‍👩‍👧‍👦 🇩🇪",
    "zero\u200bwidth soft\u00adhyphen \ufeffbom \u202eright",
    "bell\x07 tab\tnew\nline form\x0cfeed next\x85line \x00null",
    "\ufffd replaced \ue000 private",
    "e\u0301 combining a\u030a",
    "ﬁ ligature ½ ² ™ ㎏ Ⅷ",
    "a" * 100 + " " + "a" * 101 + " " + "é" * 60 + " " + "é" * 101,
    "a" * 101 + "-" + "b" * 101 + "鞋" + "c" * 100,
    "😀" * 101,
    "¿qué? «quoi» „was“ – — … • ·",
]


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(folder)
    return transformers.BertTokenizer(str(folder / "vocab.txt"))


def wordpiece(**changes: Any) -> WordPieceTokenizer:
    settings = {"lower_case": True, "max_length": 4_096, **changes}
    return WordPieceTokenizer(VOCABULARY, **settings)


def ids_of(tokenizer: WordPieceTokenizer, texts: list[str]) -> list[list[int]]:
    tokens = tokenizer(tf.constant(texts))
    return [
        token_ids[mask].tolist()
        for token_ids, mask in zip(
            tokens.token_ids.numpy(), tokens.padding_mask.numpy(), strict=True
        )
    ]


@pytest.mark.parametrize("text", [*ENGLISH, *CHINESE, *ODD])
def test_ids_are_those_of_hugging_face(hugging_face: Any, text: str) -> None:
    assert ids_of(wordpiece(), [text]) == [hugging_face.encode(text)]


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
def test_case_and_accents_are_separate_choices(
    tmp_path: Path, lower_case: bool, strip_accents: bool
) -> None:
    write_vocabulary(tmp_path)
    reference = transformers.BertTokenizerFast(
        str(tmp_path / "vocab.txt"),
        do_lower_case=lower_case,
        strip_accents=strip_accents,
    )
    tokenizer = word_piece_tokenizer(reference, max_length=64)
    assert tokenizer is not None
    texts = ["Red shoes", "réd shoés", "RED é"]
    assert ids_of(tokenizer, texts) == reference(texts)["input_ids"]


def test_assigned_characters_give_the_ids_of_hugging_face(tmp_path: Path) -> None:
    # One in 7 below U+3000, one in 97 up to the end of the planes in use (all of them
    # take two minutes); each between letters, alone and at the end of a word.
    characters = [
        chr(code)
        for code in (*range(1, 0x3000, 7), *range(0x3000, 0x30000, 97), ord("Σ"))
        if unicodedata.category(chr(code)) not in ("Cn", "Cs")
    ]
    reference, tokenizer = tokenizers_that_know(characters, folder=tmp_path)
    texts = [f"shoe{c}s {c} 1 a{c}" for c in characters]
    found = ids_of(tokenizer, texts)
    differ = [
        hex(ord(character))
        for character, text, ids in zip(characters, texts, found, strict=True)
        if ids != reference.encode(text)
    ]
    assert differ == []
    unknown = [tokenizer.unknown_id in ids for ids in found]
    assert np.mean(unknown) < 0.02


def test_greek_capitals_give_the_ids_of_hugging_face(tmp_path: Path) -> None:
    reference, tokenizer = tokenizers_that_know("ΑΔΕΙΚΝΟΠΡΣΤΥς", folder=tmp_path)
    for text in ("ΑΝΔΡΙΚΑ ΠΑΠΟΥΤΣΙΑ", "ΝΕΟΣ ΑΝΔΡΙΚΟΣ Σ", "νέος"):
        assert ids_of(tokenizer, [text]) == [reference.encode(text)]
        assert tokenizer.unknown_id not in ids_of(tokenizer, [text])[0]


def tokenizers_that_know(
    characters: Iterable[str], *, folder: Path
) -> tuple[Any, WordPieceTokenizer]:
    """Returns Hugging Face's and ours, with these characters and their lower case."""
    parts = {
        part
        for c in characters
        for form in (c, c.lower())
        for part in form + unicodedata.normalize("NFD", form)
    }
    # A vocabulary file has one token a line.
    parts = sorted(c for c in parts - set(VOCABULARY) if c.split() == [c])
    vocabulary = [*VOCABULARY, *parts, *(f"##{c}" for c in parts)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    reference = transformers.BertTokenizer(str(folder / "vocab.txt"))
    return reference, WordPieceTokenizer(vocabulary, lower_case=True, max_length=4_096)


def test_chinese_titles_give_the_ids_of_hugging_face(tmp_path: Path) -> None:
    if not CHINESE_TITLES.exists():
        pytest.skip(f"needs {CHINESE_TITLES}")
    lines = gzip.decompress(CHINESE_TITLES.read_bytes()).decode().splitlines()
    titles = [line.split("\t")[1] for line in lines[1:]]
    # All their characters, so that few ids are [UNK].
    characters = sorted(set("".join(titles).lower()) - set(VOCABULARY) - {" "})
    vocabulary = [*VOCABULARY, *characters, *("##" + c for c in characters)]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    reference = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    tokenizer = word_piece_tokenizer(reference, max_length=512)
    assert tokenizer is not None
    ids = ids_of(tokenizer, titles)
    assert ids == reference(titles)["input_ids"]
    unknown = np.mean([token == 1 for row in ids for token in row])
    assert unknown < 0.05


def test_html_is_cleaned_before_the_words_are_split() -> None:
    plain = ids_of(wordpiece(), ["red shoe & blue"])
    assert ids_of(wordpiece(), ["<b>red</b><br>shoe &amp; blue"]) == plain


def test_texts_without_words_have_no_real_token() -> None:
    texts = tf.constant(["", " \t", "<br>", "\x07\u200b", "red"])
    tokens = wordpiece()(texts)
    assert tokens.padding_mask.numpy().sum(axis=1).tolist() == [0, 0, 0, 0, 3]
    assert tokens.token_ids.numpy()[:4].tolist() == [[0, 0, 0]] * 4


def test_long_texts_are_cut_and_keep_their_end_mark() -> None:
    cls_id, sep_id = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
    red, shoe = VOCABULARY.index("red"), VOCABULARY.index("shoe")
    ids = ids_of(wordpiece(max_length=4), ["red shoe red red", "red"])
    assert ids == [[cls_id, red, shoe, sep_id], [cls_id, red, sep_id]]


def test_batches_are_as_wide_as_their_longest_text() -> None:
    tokens = wordpiece()(tf.constant(["red", "red shoe blue"]))
    assert tokens.token_ids.shape == (2, 5)
    assert wordpiece()(tf.constant([], tf.string)).token_ids.shape[0] == 0


def test_words_that_look_like_special_tokens_are_words(hugging_face: Any) -> None:
    ids = ids_of(wordpiece(), ["[SEP] red"])[0]
    assert ids.count(VOCABULARY.index("[SEP]")) == 1
    # Hugging Face lets a title end its own text.
    assert hugging_face.encode("[SEP] red").count(VOCABULARY.index("[SEP]")) == 2


def test_missing_special_token_is_named() -> None:
    with pytest.raises(ValueError, match=r"special token '\[CLS\]'"):
        WordPieceTokenizer(["[PAD]", "[UNK]", "a"], lower_case=True, max_length=8)


def test_tokens_are_the_same_wherever_they_are_made() -> None:
    tokenizer = wordpiece()
    texts = np.array(["the red lamp, the lamp", "", "lamp", "<b>red</b>"], object)
    check_preprocessor(tokenizer, [texts], resources=tokenizer)
