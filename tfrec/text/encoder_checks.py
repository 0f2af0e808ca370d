"""Whether an encoder can read what a shop wants read: errors and warnings."""

import logging
from collections.abc import Sequence

import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens
from tfrec.text_config import TextConfig

_MAX_SAMPLE = 2_000  # Texts; their tokens are counted in a fraction of a second.
_MAX_UNKNOWN_SHARE = 0.2  # Of words, and of texts.

logger = logging.getLogger(__name__)


def check_reads_requests(config: ExperimentConfig, encoder: TextEncoder) -> bool:
    """Returns whether the encoder reads texts of requests; warns if it does not.

    Raises:
        ValueError: If it does not and the configuration needs it to.
    """
    if encoder.tokenizes_in_graph:
        return True
    model = config.text.model if config.text else None
    needed = []
    if config.text is not None and config.text.sequence == "single":
        needed.append("text.sequence=single")
    if config.data.search_event_type is not None:
        needed.append(f"data.search_event_type={config.data.search_event_type}")
    fix = "Choose a WordPiece model, such as BERT or MiniLM, as `text.model`"
    if needed:
        raise ValueError(
            f"{' and '.join(f'`{n}`' for n in needed)} need a text encoder that reads "
            f"texts in the graph. Received: text.model={model!r}, whose tokenizer is "
            f"no WordPiece. {fix}, or leave the settings out: texts of items are read "
            "all the same."
        )
    logger.warning(
        "`text.model=%s` has a tokenizer that is no WordPiece: texts of items are read "
        "ahead, but no search is read, in training, evaluation and the exported model. "
        "%s where searches count.",
        model,
        fix,
    )
    return False


def check_same_encoder(
    settings: TextConfig, encoder: TextEncoder, expected_hash: str | None
) -> None:
    """Checks that an encoder is the one that models were trained on.

    Args:
        settings: That the encoder was built from.
        encoder: As it was loaded.
        expected_hash: `loaded_hash` of the other; None takes any.

    Raises:
        ValueError: If it is not: its vectors would mean nothing to the models.
    """
    if expected_hash is None or encoder.loaded_hash == expected_hash:
        return
    what = settings.encoder
    if settings.model is not None and what != "scratch":
        what += f" {settings.model!r}"
    raise ValueError(
        f"The text encoder must be the one that the run was trained on, of the hash "
        f"{expected_hash}. Received: {what} of the hash {encoder.loaded_hash}: its "
        "files have changed, or the rules of cleaning texts, or the library that reads "
        "it. Put the files, or the versions in the run's `versions.json`, back, or "
        "train the run again, under another `name` or `run_dir`."
    )


def warn_of_unread_texts(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Warns where a large share of item texts, or of their words, is not read.

    Args:
        encoder: As it was loaded.
        texts: Of items; "" where there is none. Of many a sample is looked at.
    """
    said = sorted({text for text in texts if text})
    if not said:
        logger.warning(
            "No item has a text: all fields of `text.fields` are empty, so the text "
            "encoder reads nothing of the catalogue. Map `data.item_columns.title`, "
            "name other `text.fields`, or leave `text` out."
        )
        return
    sample = said[:: max(-(-len(said) // _MAX_SAMPLE), 1)]
    of_words, of_texts = unknown_share(encoder, sample), unread_share(encoder, sample)
    if max(of_words, of_texts) > _MAX_UNKNOWN_SHARE:
        logger.warning(
            "%.0f %% of the words of item texts are unknown to the text encoder, and "
            "%.0f %% of the texts hold none that it knows: those become zeros, as if "
            "there were no text. Set `text.encoder=scratch`, or `text.model` to one of "
            "the shop's language.",
            100 * of_words,
            100 * of_texts,
        )


def unknown_share(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Returns the share of unknown ones among the words, or pieces, of texts.

    0 for encoders that do not tell what they do not know.
    """
    num_words, num_unknown = encoder.count_words(texts) if texts else (0, 0)
    return num_unknown / max(num_words, 1)


def unread_share(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """Returns the share of the texts that the encoder makes zeros of."""
    if not texts:
        return 0.0
    tokens = TextTokens(*map(tf.constant, encoder.numpy_tokenize(texts)))
    return 1.0 - float(encoder.is_said(tokens).numpy().mean())
