"""Tiny models in the formats that encoders are loaded from."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import transformers

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
