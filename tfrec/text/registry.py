"""Builds the text encoder that a configuration names."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tfrec.text.encoder import TextEncoder
from tfrec.text.locations import resolve_model
from tfrec.text.transformers_encoder import load_transformers_encoder
from tfrec.text_config import TextConfig

Texts = Callable[[], Sequence[str]]


def build_text_encoder(
    config: TextConfig, *, texts: Texts, scratch_dir: Path, seed: int = 0
) -> TextEncoder:
    """Loads the encoder, or trains it, with what `config.training` leaves to train.

    Args:
        config: The text tower.
        texts: Gives the shop's own texts; only called by `scratch`.
        scratch_dir: Where `scratch` keeps what it trained.
        seed: Of `scratch` and of adapters.

    Raises:
        ValueError: The model does not fit the configuration; says what to set.
        FileNotFoundError: A folder or file is missing.
    """
    encoder = load_transformers_encoder(
        resolve_model(config.model or ""),
        max_length=config.max_length,
        pooling=config.pooling,
        normalize=config.normalize,
    )
    encoder.set_training(
        config.training,
        num_layers=config.num_trained_layers,
        adapter_rank=config.adapter_rank,
        seed=seed,
    )
    return encoder
