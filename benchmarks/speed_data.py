"""What all trainings of the speed benchmark share: sequences, shapes, batch sizes."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfrec.config import ExperimentConfig, RetrievalConfig
from tfrec.data.batches import BatchBuilder
from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.schema import OOV_INDEX

_PREFIX_BYTES = 4_000_000_000  # Of a step of RecBole.
_DATASET = "events"  # RecBole's: folder and file have its name.
_HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"


@dataclass(frozen=True)
class Shapes:
    """What a rival's driver is told, in its JSON.

    Attributes:
        folder: Holds the folder of the data set.
        events: The file of events.
        embedding_dim: d.
        num_layers: Blocks.
        num_heads: Attention heads.
        feedforward_dim: Width inside a block.
        max_history_length: L, events that are read.
        dropout: Share of dropped units.
        learning_rate: Of Adam.
        batch_targets: Targets of a step.
        batch_prefixes: RecBole's rows of a step: as many as targets, or as memory
            holds.
        batch_histories: Histories that hold about as many targets.
        num_threads: All cores.
        seed: Of weights and order.
    """

    folder: str
    events: str
    embedding_dim: int
    num_layers: int
    num_heads: int
    feedforward_dim: int
    max_history_length: int
    dropout: float
    learning_rate: float
    batch_targets: int
    batch_prefixes: int
    batch_histories: int
    num_threads: int
    seed: int

    def write(self, path: Path) -> None:
        """Writes them for a driver."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def check_comparable(config: ExperimentConfig) -> None:
    """Refuses configurations that the SASRec of the rivals cannot be compared with.

    Raises:
        ValueError: If the encoder is no causal transformer, the loss not exact, or
            texts are read.
    """
    if config.text is not None:
        raise ValueError(
            "`text` must be left out: rivals read ids alone. Received: "
            f"text.encoder='{config.text.encoder}'. Choose a configuration without."
        )
    wanted = {"encoder": "transformer", "loss": "softmax"}
    for name, value in wanted.items():
        found = getattr(config.retrieval, name)
        if found != value:
            raise ValueError(
                f"`retrieval.{name}` must be '{value}': rivals train SASRec with the "
                f"exact softmax. Received: '{found}'. Override it with "
                f"--retrieval.{name} {value}."
            )


def ids_alone(config: ExperimentConfig) -> ExperimentConfig:
    """Returns the configuration as rivals train it: ids alone, no counted pairs."""
    data = config.data.model_copy(update={"item_attributes": ()})
    retrieval = config.retrieval.model_copy(update={"transitions": False})
    return config.model_copy(update={"data": data, "retrieval": retrieval})


def training_events(builder: BatchBuilder) -> np.ndarray:
    """Returns which events all learn from; bool `[num_events]`.

    Raises:
        ValueError: If ours learns from some events of the training split only:
            rivals know no kinds of events, and would learn from all.
    """
    sequences = builder.sequences
    known = sequences.item_index > OOV_INDEX
    is_training = (sequences.split == SPLIT_INDEX["train"]) & known
    num_others = int((is_training & (builder.targets.weights <= 0)).sum())
    if num_others:
        raise ValueError(
            "Every training event must be a target, since rivals know no kinds of "
            f"events. Received: {num_others:,} of {int(is_training.sum()):,} that "
            "are none. Name all of `data.event_types` in `data.target_event_types`, "
            "or choose another configuration."
        )
    return is_training


def history_lengths(sequences: EventSequences, chosen: np.ndarray) -> np.ndarray:
    """Returns the chosen events of every user that has any; int64 `[num_histories]`."""
    lengths = np.bincount(sequences.user_rows[chosen], minlength=sequences.num_users)
    return lengths[lengths > 0]


def expected_targets(lengths: np.ndarray, max_length: int) -> dict[str, int]:
    """Counts the targets of an epoch, by trainer.

    Ours learns every event. RecBole has no query before the first event. RecTools has
    none either, and keeps the last `max_length + 1` events of a history.
    """
    return {
        "tfrec": int(lengths.sum()),
        "recbole": int((lengths - 1).sum()),
        "rectools": int(np.minimum(lengths - 1, max_length).sum()),
    }


def write_events(folder: Path, sequences: EventSequences, chosen: np.ndarray) -> Path:
    """Writes events as RecBole's atomic file, which is a plain table for RecTools.

    User rows and item indices are the names; the place in the history is the time,
    so that no library's sorting changes the order among equal times.

    Args:
        folder: Gets a folder of the data set's name.
        sequences: The events.
        chosen: bool `[num_events]`.

    Returns:
        The file.
    """
    path = folder / _DATASET / f"{_DATASET}.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    users, items = sequences.user_rows[chosen], sequences.item_index[chosen]
    number = np.arange(len(users))
    begins = np.append(True, users[1:] != users[:-1])[: len(users)]
    place = number - np.maximum.accumulate(np.where(begins, number, 0))
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="ascii") as file:
        file.write(_HEADER)
        np.savetxt(file, np.stack([users, items, place], axis=1), "%d", "\t")
    partial.replace(path)
    return path


def make_shapes(
    config: ExperimentConfig, builder: BatchBuilder, folder: Path
) -> Shapes:
    """Writes the events and returns the shapes, with batches of as many targets.

    Args:
        config: The configuration.
        builder: Of its batches.
        folder: For the events.

    Raises:
        ValueError: If rivals would learn from other events than ours.
    """
    chosen = training_events(builder)
    lengths = history_lengths(builder.sequences, chosen)
    settings = config.retrieval
    expected = expected_targets(lengths, settings.max_history_length)
    batch_targets = round(expected["tfrec"] / builder.num_batches())
    a_history = expected["rectools"] / max(int((lengths > 1).sum()), 1)
    events = write_events(folder, builder.sequences, chosen)
    return Shapes(
        folder=str(folder.resolve()),
        events=str(events.resolve()),
        embedding_dim=settings.embedding_dim,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        feedforward_dim=settings.feedforward_dim,
        max_history_length=settings.max_history_length,
        dropout=settings.dropout,
        learning_rate=config.training.retrieval.optimizer.learning_rate,
        batch_targets=batch_targets,
        batch_prefixes=min(batch_targets, max_prefixes(settings)),
        batch_histories=max(round(batch_targets / max(a_history, 1.0)), 1),
        num_threads=num_cores(),
        seed=config.seed,
    )


def max_prefixes(settings: RetrievalConfig) -> int:
    """Returns how many rows of RecBole's may be learned in one step.

    Each is a whole padded history for one target. What a step keeps for its gradients
    is about six matrices of attention a head, ten vectors of d and four as wide as the
    feed-forward net, per block; 6,200 rows of MovieLens-1M would be 40 GB.
    """
    length = settings.max_history_length
    kept = 6 * settings.num_heads * length + 10 * settings.embedding_dim
    kept += 4 * settings.feedforward_dim
    row_bytes = 4 * max(settings.num_layers, 1) * length * kept
    return max(_PREFIX_BYTES // row_bytes, 1)


def num_cores() -> int:
    """Returns the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
