"""Configuration of data augmentation; holds no TensorFlow."""

from pydantic import Field

from tfrec.data_config import FrozenConfig


class AugmentationConfig(FrozenConfig):
    """How training histories of retrieval are varied from epoch to epoch.

    Drawn by seed and epoch, in training alone: evaluation and serving read what
    happened. All is off by default.
    """

    crop_share: float = Field(
        0.0, ge=0, le=1, description="Histories of which a random part is read alone."
    )
    crop_min_length: float = Field(
        0.5, gt=0, le=1, description="Least share of a cropped history that is kept."
    )
    mask_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Read events whose item, type and dwell are made unknown; they "
        "are asked for all the same.",
    )
    shuffle_ties: bool = Field(
        False,
        description="Events of one user and time change places, for logs whose times "
        "are too coarse to order them.",
    )


def check_augmentation(augmentation: AugmentationConfig, timestamp: str | None) -> None:
    """Raises an error where the log cannot be augmented as asked.

    Args:
        augmentation: What is asked for.
        timestamp: The column of times; None where the log has none.

    Raises:
        ValueError: If events without times should be shuffled among their equals.
    """
    if augmentation.shuffle_ties and timestamp is None:
        raise ValueError(
            "`retrieval.augmentation.shuffle_ties` needs "
            "`data.event_columns.timestamp`: without times all events of a user are "
            "ties. Received: shuffle_ties=True, timestamp=None. Name the column, or "
            "leave `shuffle_ties` out."
        )
