"""Tiny models in the formats that encoders are loaded from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import transformers
from tokenizers.implementations import (
    ByteLevelBPETokenizer,
    SentencePieceUnigramTokenizer,
)
from tokenizers.processors import TemplateProcessing

HIDDEN_DIM = 8
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("red", "blue", "shoe", "sock", "##ing", "cream", "<", ">", "&", "!"),
    *("鞋", "子", "红", "色", "1", "2"),
    *LETTERS,
    *("##" + letter for letter in LETTERS),
]


def tiny_config(**changes: Any) -> Any:
    """Returns a BERT of two layers and eight numbers."""
    settings = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": HIDDEN_DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
        # Ten times BERT's: small vectors would hide differences.
        "initializer_range": 0.2,
        **changes,
    }
    return transformers.BertConfig(**settings)


def write_vocabulary(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")


def write_tiny_bert(folder: Path, **changes: Any) -> Path:
    """Writes a folder with `config.json`, `tf_model.h5` and `vocab.txt`."""
    tf.keras.utils.set_random_seed(0)
    model = transformers.TFBertModel(tiny_config(**changes))
    model(np.ones((1, 2), np.int32))
    write_vocabulary(folder)
    model.save_pretrained(folder)
    return folder


def write_tiny_roberta(folder: Path, texts: Sequence[str]) -> Path:
    """Writes a RoBERTa whose tokenizer (BPE of bytes) was trained on the texts."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(
        iter(texts), vocab_size=300, special_tokens=[*special], show_progress=False
    )
    trained.save_model(str(folder))
    transformers.RobertaTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    return _save_roberta(folder, trained.get_vocab_size())


def write_tiny_sentence_piece(folder: Path, texts: Sequence[str]) -> Path:
    """Writes a RoBERTa whose tokenizer (SentencePiece, unigrams) learned the texts."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = SentencePieceUnigramTokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        iter(texts),
        vocab_size=60,
        show_progress=False,
        special_tokens=[*special],
        unk_token="<unk>",
    )
    trained.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(  # pyright: ignore
        tokenizer_object=trained._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    return _save_roberta(folder, trained.get_vocab_size())


def _save_roberta(folder: Path, num_tokens: int) -> Path:
    config = transformers.RobertaConfig(
        vocab_size=num_tokens,
        hidden_size=HIDDEN_DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        initializer_range=0.2,
    )
    tf.keras.utils.set_random_seed(0)
    model = transformers.TFRobertaModel(config)
    model(np.ones((1, 2), np.int32))
    model.save_pretrained(folder)
    return folder
