import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers

from tfrec.text import scratch
from tfrec.text.encoder import TextEncoder
from tfrec.text.masked_language_model import hide_tokens, learning_rate_factor
from tfrec.text.registry import build_text_encoder
from tfrec.text.scratch import RECORD_FILE
from tfrec.text.transformers_encoder import TransformersEncoder
from tfrec.text.vocabulary import train_vocabulary
from tfrec.text_config import ScratchEncoderConfig, TextConfig

COLORS = ["red", "blue", "green"]
THINGS = ["shoe", "sock", "hat", "coat"]
TEXTS = [f"{color} {thing} {color}" for color in COLORS for thing in THINGS]
CHINESE = ["红色鞋子", "蓝色袜子", "红色帽子 hat", "蓝色鞋子"]


def config(**changes: Any) -> TextConfig:
    small = {
        "vocabulary_size": 120,
        "hidden_dim": 16,
        "num_layers": 1,
        "num_heads": 2,
        "max_epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.01,
        **changes.pop("scratch", {}),
    }
    settings = {"encoder": "scratch", "model": None, "max_length": 8, **changes}
    return TextConfig(**settings, scratch=ScratchEncoderConfig(**small))


def build(
    folder: Path, texts: list[str] | None = None, *, seed: int = 0, **changes: Any
) -> TextEncoder:
    def give() -> list[str]:
        assert texts is not None, "The texts are not needed."
        return texts

    return build_text_encoder(
        config(**changes), texts=give, scratch_dir=folder, seed=seed
    )


def test_what_is_trained_is_kept_and_used_again(tmp_path: Path) -> None:
    first = build(tmp_path, [*TEXTS, *CHINESE, "", "<br>", TEXTS[0]])
    again = build(tmp_path)
    assert again.encoder_hash == first.encoder_hash
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / RECORD_FILE).read_text())
    # 16 distinct texts with words: four batches of four, two epochs.
    assert (record["num_texts"], record["num_steps"]) == (16, 8)
    vectors = first.encode(tf.constant(["red shoe", "", "红色鞋子"])).numpy()
    assert first.text_dim == 16
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1], atol=1e-5)


def test_same_texts_give_the_same_encoder_whatever_the_seed_of_the_run(
    tmp_path: Path,
) -> None:
    hashes = [
        build(tmp_path / str(seed), TEXTS, seed=seed).encoder_hash for seed in (1, 2)
    ]
    assert hashes[0] == hashes[1]
    # And runs of all seeds share a folder.
    assert build(tmp_path / "1", seed=3).encoder_hash == hashes[0]


def test_other_settings_are_kept_beside(tmp_path: Path) -> None:
    build(tmp_path, TEXTS)
    build(tmp_path, TEXTS, scratch={"num_layers": 2})
    # How vectors are pooled is no part of what is trained.
    build(tmp_path, pooling="cls", normalize=False)
    assert len(list(tmp_path.iterdir())) == 2


def test_training_learns_what_the_texts_repeat(tmp_path: Path) -> None:
    build(
        tmp_path,
        TEXTS,
        scratch={"max_epochs": 150, "mask_share": 0.3, "batch_size": 12},
    )
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / RECORD_FILE).read_text())
    # A color stands twice in a text, so two words of three can be known; guessing
    # the most frequent word of seven would be right for one in three of them.
    assert record["accuracy"] > 0.5
    assert record["loss"] < np.log(len(COLORS) + len(THINGS))


def test_interrupted_training_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scratch, "train_masked_language_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_who_trained_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build(tmp_path / "other", TEXTS)
    (finished,) = (tmp_path / "other").iterdir()
    train = scratch.train_masked_language_model

    def overtaken(*arguments: Any, **options: Any) -> dict[str, float]:
        record = train(*arguments, **options)
        finished.rename(tmp_path / "mine" / finished.name)
        return record

    monkeypatch.setattr(scratch, "train_masked_language_model", overtaken)
    mine = build(tmp_path / "mine", CHINESE)
    assert mine.encoder_hash == other.encoder_hash
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [finished.name]


@pytest.mark.parametrize("texts", [[], ["", "<br>"]])
def test_no_words_to_learn_from_is_an_error(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(ValueError, match="none with words.*item_columns.title"):
        build(tmp_path, texts)


def test_vocabulary_holds_chinese_characters_one_by_one() -> None:
    vocabulary = train_vocabulary([*CHINESE, *TEXTS], 200)
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert {"红", "色", "鞋", "子", "red", "shoe"} <= set(vocabulary)
    assert all(len(token) == 1 for token in vocabulary if "红" in token)
    assert len(vocabulary) <= 200


def test_equal_texts_give_equal_vocabularies_even_where_counts_tie() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(400)]
    texts = [" ".join(words[start : start + 8]) for start in range(0, 400, 8)]
    vocabularies = {tuple(train_vocabulary(texts, 60)) for _ in range(8)}
    assert len(vocabularies) == 1
    # All full: ties were cut.
    assert len(vocabularies.pop()) == 60


def test_rare_characters_leave_half_of_the_vocabulary_to_words() -> None:
    texts = [chr(0x4E00 + i) for i in range(500)] + ["shoe shoe shoes"] * 50
    vocabulary = train_vocabulary(texts, 100)
    assert len([token for token in vocabulary[5:] if len(token.strip("#")) == 1]) == 50
    assert {"s", "shoe", "shoes"} <= set(vocabulary)


THAI = "กขคงจฉ"
KANA = "カタナヒミ"


@pytest.mark.parametrize(
    "word",
    [
        # 120 characters: unknown as a whole to the tokenizer.
        pytest.param(THAI * 20, id="Thai"),
        pytest.param(KANA * 24, id="kana"),
        pytest.param("x" * 20_000, id="latin"),
        # 90 characters, which are one piece of 270 bytes.
        pytest.param(THAI * 15, id="short Thai"),
        pytest.param(KANA * 18, id="short kana"),
    ],
)
def test_long_words_that_repeat_are_no_pieces(tmp_path: Path, word: str) -> None:
    texts = [f"red {word}", f"blue {word}", f"{word} shoe"]
    encoder = build(tmp_path, [*TEXTS, *texts], scratch={"vocabulary_size": 200})
    assert isinstance(encoder, TransformersEncoder)
    assert encoder.vocabulary is not None
    assert {"red", "shoe"} <= set(encoder.vocabulary)
    assert max(len(piece.encode()) for piece in encoder.vocabulary) <= 256
    is_known = encoder.unknown_id not in encoder.numpy_tokenize(texts).token_ids
    assert is_known == (len(word) <= 100)
    # What is [UNK] as a whole takes no place of what is not.
    used = any(set(word) & set(piece) for piece in encoder.vocabulary[5:])
    assert used == is_known


def test_long_words_change_nothing_for_others() -> None:
    plain = train_vocabulary(TEXTS, 60)
    assert train_vocabulary([*TEXTS, "z" * 101, "y" * 101], 60) == plain


def position_embeddings(model: Any) -> np.ndarray:
    return next(w for w in model.weights if "position_embeddings" in w.name).numpy()


def test_all_positions_are_trained_where_histories_are_read(tmp_path: Path) -> None:
    start = scratch._new_model
    starts: list[np.ndarray] = []

    def positions(folder: Path) -> np.ndarray:
        (trained,) = folder.iterdir()
        model = transformers.TFBertModel.from_pretrained(trained)
        return position_embeddings(model)

    def remember(*arguments: Any) -> Any:
        model = start(*arguments)
        starts.append(position_embeddings(model))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "_new_model", remember)
        build(
            tmp_path,
            TEXTS,
            sequence="single",
            sequence_tokens=12,
            scratch={"max_epochs": 20},
        )
    moved = np.abs(positions(tmp_path) - starts[0]).max(axis=1)
    assert len(moved) == 12
    assert (moved > 1e-4).all()


def hide(token_ids: np.ndarray, lengths: np.ndarray, **changes: Any) -> Any:
    settings = {
        "mask_share": 0.5,
        "mask_id": 4,
        "num_tokens": 30,
        "num_special": 5,
        "rng": np.random.default_rng(0),
        **changes,
    }
    return hide_tokens(token_ids, lengths, **settings)


def test_a_share_of_the_words_is_hidden_and_no_end_mark() -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, 12, 400)
    token_ids = rng.integers(5, 30, (400, 11)).astype(np.int32)
    token_ids[:, 0] = 2
    token_ids[np.arange(400), lengths - 1] = 3
    token_ids[np.arange(11) >= lengths[:, None]] = 0
    batch = hide(token_ids, lengths)
    rows, places = batch.positions.T
    np.testing.assert_array_equal(batch.labels, token_ids[rows, places])
    assert (batch.labels >= 5).all()
    expected = np.maximum(np.round(0.5 * (lengths - 2)), 1)
    np.testing.assert_array_equal(np.bincount(rows, minlength=400), expected)
    untouched = np.ones_like(token_ids, bool)
    untouched[rows, places] = False
    np.testing.assert_array_equal(batch.token_ids[untouched], token_ids[untouched])
    np.testing.assert_array_equal(batch.padding_mask.sum(axis=1), lengths)
    shown = batch.token_ids[rows, places]
    assert abs((shown == 4).mean() - 0.8) < 0.05
    # A tenth stays; of the random ones one in 25 is the word itself.
    assert abs((shown == batch.labels).mean() - (0.1 + 0.1 / 25)) < 0.03


def test_rate_goes_up_for_a_tenth_and_down_to_nothing() -> None:
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert np.argmax(factors) in (9, 10)
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[-1] == pytest.approx(1 / 90)
    assert learning_rate_factor(0, 1) == pytest.approx(1.0)
