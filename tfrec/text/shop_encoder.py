"""The text encoder of a shop: what it may learn from, and where it is kept."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from tfrec.data.store import (
    OWN_ENCODERS,
    TEXT_DIR,
    TRAIN,
    EventSequences,
    PreparedDataset,
)
from tfrec.text.encoder import TextEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig


def build_shop_encoder(
    settings: TextConfig,
    dataset: PreparedDataset,
    texts: Callable[[], Sequence[str]],
    *,
    seed: int,
) -> TextEncoder:
    """Builds the encoder.

    Args:
        settings: The text tower.
        dataset: In whose folder `scratch` is kept; apart where items are hidden from
            it.
        texts: Gives what `scratch` learns from.
        seed: Of adapters.
    """
    name = OWN_ENCODERS
    if dataset.is_hidden.any():
        digest = hashlib.sha256(np.packbits(dataset.is_hidden).tobytes()).hexdigest()
        name = f"{OWN_ENCODERS}-hidden-{digest[:8]}"
    folder = (settings.cache_dir or dataset.path / TEXT_DIR) / name
    if settings.sequence == "single":
        # One length for all: item texts are shorter by themselves.
        longer = {"max_length": settings.sequence_tokens}
        settings = settings.model_copy(update=longer)
    return build_text_encoder(settings, texts=texts, scratch_dir=folder, seed=seed)


def texts_to_learn(
    item_texts: Sequence[str], dataset: PreparedDataset, sequences: EventSequences
) -> list[str]:
    """Returns the texts that an encoder may learn from: those known in training.

    They are the texts of items that are not hidden, and the searches of the training
    split. `item_texts` are by item index.
    """
    known = [
        text
        for text, hidden in zip(item_texts, dataset.is_hidden, strict=True)
        if text and not hidden
    ]
    searches = set(sequences.query_text[sequences.split == TRAIN].tolist()) - {""}
    return [*known, *sorted(searches)]


def no_texts() -> Sequence[str]:
    """Stands in for the texts where models were trained on an encoder already.

    Raises:
        FileNotFoundError: Always: who asks for texts is about to train another.
    """
    raise FileNotFoundError(
        "The encoder that this run was trained with is not in its folder any more: it "
        "was deleted, or the rules of cleaning texts have changed since. Train the run "
        "again, under another `name` or `run_dir`."
    )
