"""The texts of a run, read by the encoder that its models were trained on."""

import json
import logging
from pathlib import Path

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.run_record import RETRIEVAL, write_json
from tfrec.text.shop_texts import ShopTexts, load_shop_texts

ENCODER_FILE = "encoder.json"
_HASH = "encoder_hash"

logger = logging.getLogger(__name__)


def texts_to_train_on(
    config: ExperimentConfig, dataset: PreparedDataset
) -> ShopTexts | None:
    """Encodes the texts and notes the encoder; None where no text is configured.

    Where training goes on after a kill, the encoder must be the one of its start.

    Raises:
        ValueError: If it is another, or cannot read what shall be read.
    """
    is_started = (config.run_path / RETRIEVAL).exists()
    texts = load_shop_texts(
        config,
        dataset,
        dataset.load_sequences(),
        expected_hash=_noted_hash(config) if is_started else None,
    )
    if texts is not None and not is_started:
        noted = {_HASH: texts.reader.encoder.loaded_hash}
        write_json(config.run_path / ENCODER_FILE, noted)
    return texts


def texts_of_trained(
    config: ExperimentConfig, dataset: PreparedDataset, sequences: EventSequences
) -> ShopTexts | None:
    """Encodes the texts for trained models; None where no text is configured.

    Raises:
        FileNotFoundError: If the encoder of the run is gone.
        ValueError: If it is another than that of the training.
    """
    return load_shop_texts(
        config,
        dataset,
        sequences,
        is_trained=True,
        expected_hash=_noted_hash(config),
    )


def _noted_hash(config: ExperimentConfig) -> str | None:
    """Returns the hash of the run's encoder; warns where none was noted."""
    if config.text is None:
        return None
    path = Path(config.run_path) / ENCODER_FILE
    if path.is_file():
        return json.loads(path.read_text("utf-8"))[_HASH]
    logger.warning(
        "'%s' does not say which text encoder it was trained on (no %s: it is older "
        "than that file). The one that `text` names now is taken for it.",
        config.run_path,
        ENCODER_FILE,
    )
    return None
