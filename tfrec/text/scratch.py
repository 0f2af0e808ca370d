"""A small BERT of the shop's own texts: vocabulary, training, and where it is kept."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec.text.clean import CLEAN_RULES, clean_texts
from tfrec.text.masked_language_model import train_masked_language_model
from tfrec.text.transformers_encoder import (
    TransformersEncoder,
    load_transformers_encoder,
)
from tfrec.text.transformers_files import quiet_transformers
from tfrec.text.vocabulary import train_vocabulary
from tfrec.text.wordpiece import WordPieceTokenizer
from tfrec.text_config import TextConfig

_VERSION = "1"  # Goes up with any change of what is trained.
_SEED = 0  # Of weights, order and masks.
_FEED_FORWARD = 4  # Times the width, as in BERT.
RECORD_FILE = "training.json"


def load_scratch_encoder(
    config: TextConfig,
    *,
    texts: Callable[[], Sequence[str]],
    scratch_dir: Path,
) -> TransformersEncoder:
    """Loads the encoder of a folder; trains it first where there is none.

    What is trained once stays: new texts do not change it, since recommenders were
    trained on it. Delete the folder to train anew. It is to the shop what a pre-trained
    model is to the world, and so all runs share one, whatever their seed.

    Args:
        config: The text tower.
        texts: Gives the shop's texts; called for training only.
        scratch_dir: Holds one folder per settings. Keep it apart per shop.
    """
    folder = Path(scratch_dir) / f"scratch-{_key(config)}"
    if not folder.exists():
        _train_into(folder, config, texts())
    return load_transformers_encoder(
        str(folder),
        max_length=config.max_length,
        pooling=config.pooling,
        normalize=config.normalize,
    )


def _train_into(folder: Path, config: TextConfig, texts: Sequence[str]) -> None:
    """Trains in a folder beside and renames it: it is whole or not there."""
    distinct = _distinct(texts)
    if not distinct:
        raise ValueError(
            "`text.encoder=scratch` learns from the shop's texts. Received "
            f"{len(texts)} texts, none with words. Map `data.item_columns.title`, or "
            "set `text.encoder` to another."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        vocabulary = train_vocabulary(distinct, config.scratch.vocabulary_size)
        (unfinished / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
        with quiet_transformers() as transformers:
            tokenizer = transformers.BertTokenizerFast(str(unfinished / "vocab.txt"))
            model = _new_model(transformers, config, len(vocabulary))
            word_pieces = WordPieceTokenizer(
                vocabulary, lower_case=True, max_length=config.max_length
            )
            record = train_masked_language_model(
                model, word_pieces, distinct, config, seed=_SEED
            )
            model.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
        record_text = json.dumps(record, indent=2) + "\n"
        (unfinished / RECORD_FILE).write_text(record_text, "utf-8")
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    unfinished.chmod(0o755)
    try:
        os.rename(unfinished, folder)
    except OSError:
        # Another process was first; its encoder is the one.
        if not folder.exists():
            raise


def _new_model(transformers: Any, config: TextConfig, num_tokens: int) -> Any:
    scratch = config.scratch
    bert = transformers.BertConfig(
        vocab_size=num_tokens,
        hidden_size=scratch.hidden_dim,
        num_hidden_layers=scratch.num_layers,
        num_attention_heads=scratch.num_heads,
        intermediate_size=_FEED_FORWARD * scratch.hidden_dim,
        max_position_embeddings=max(config.max_length, config.sequence_tokens),
        # As Geiping & Goldstein 2022 ("Cramming"): short training needs none, and
        # without it the same seed gives the same encoder.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = transformers.TFBertForMaskedLM(bert)
    model(np.ones((1, 2), np.int32))
    rng = np.random.default_rng(_SEED)
    for weight in model.weights:
        if len(weight.shape) > 1:
            values = rng.normal(0, bert.initializer_range, weight.shape)
            weight.assign(values.astype(np.float32))
    return model


def _distinct(texts: Sequence[str]) -> list[str]:
    return sorted({text for text in clean_texts(texts) if text})


def _key(config: TextConfig) -> str:
    settings = (_VERSION, CLEAN_RULES, config.max_length, config.sequence_tokens, _SEED)
    settings += (config.sequence == "single",)
    parts = [*map(repr, settings), config.scratch.model_dump_json()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
