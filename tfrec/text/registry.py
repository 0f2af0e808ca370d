"""Builds the text encoder that a configuration names."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tfrec.text.encoder import TextEncoder
from tfrec.text.locations import resolve_model
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
        seed: Of adapters.

    Raises:
        ValueError: The model does not fit the configuration; says what to set.
        FileNotFoundError: A folder or file is missing.
    """
    encoder = _load(config, texts, scratch_dir)
    encoder.loaded_hash = encoder.encoder_hash  # Before adapters are put in.
    encoder.set_training(
        config.training,
        num_layers=config.num_trained_layers,
        adapter_rank=config.adapter_rank,
        seed=seed,
    )
    return encoder


def _load(config: TextConfig, texts: Texts, scratch_dir: Path) -> TextEncoder:
    # Imported where they are needed: the libraries behind them take seconds.
    max_length, pooling = config.max_length, config.pooling
    if config.encoder == "scratch":
        from tfrec.text.scratch import load_scratch_encoder

        return load_scratch_encoder(config, texts=texts, scratch_dir=scratch_dir)
    location = resolve_model(config.model or "")
    if config.encoder == "word_vectors":
        from tfrec.text.word_vectors import load_word_vectors

        return load_word_vectors(
            location,
            max_length=max_length,
            pooling=pooling,
            normalize=config.normalize,
            weighting=config.word_weighting,
        )
    if config.encoder == "tf_hub":
        from tfrec.text.hub_encoder import load_hub_encoder

        return load_hub_encoder(
            location,
            config.preprocessor and resolve_model(config.preprocessor),
            max_length=max_length,
            pooling=pooling,
            normalize=config.normalize,
            trainable=config.training == "full",
        )
    from tfrec.text.transformers_encoder import load_transformers_encoder

    return load_transformers_encoder(
        location, max_length=max_length, pooling=pooling, normalize=config.normalize
    )
