"""The catalogue's attributes as arrays of indices and numbers."""

from dataclasses import dataclass, field

import numpy as np

from tfrec.data.store import TRAIN_COUNT, PreparedDataset
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, AttributeSpec


@dataclass(frozen=True)
class ItemTable:
    """Encoded attributes by item index; rows 0 and 1 (padding, unknown) are empty.

    Attributes:
        train_count: int64 `[num_items + 2]`, training target events per item.
        indices: Per categorical or path attribute int32
            `[num_items + 2, num_levels]`; 0 where there is no value.
        vocabulary_sizes: Per such attribute, the rows an embedding table needs.
        numbers: Per numeric attribute float32 `[num_items + 2]`, standardised
            over the catalogue (after `sign(x) * log(1 + |x|)`); 0 where missing.
        known: Per numeric attribute bool `[num_items + 2]`, False where missing.
        text: float32 `[num_items + 2, text_dim]`, what a text encoder made of the
            items' words; zeros where there are none. None without an encoder.
        scales: Per numeric attribute the mean and deviation it was standardised by.
        trained: The catalogue of the training, where this one is a later one. Its
            items come first and keep their rows.
    """

    train_count: np.ndarray
    indices: dict[str, np.ndarray]
    vocabulary_sizes: dict[str, int]
    numbers: dict[str, np.ndarray]
    known: dict[str, np.ndarray]
    text: np.ndarray | None = None
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)
    trained: "ItemTable | None" = None

    @property
    def reference(self) -> "ItemTable":
        """The catalogue that statistics are of: models have learned with those."""
        return self.trained or self

    @property
    def num_items(self) -> int:
        """Items of the catalogue."""
        return len(self.train_count) - NUM_SPECIAL_INDICES


def build_item_table(
    dataset: PreparedDataset,
    *,
    text: np.ndarray | None = None,
    trained: ItemTable | None = None,
) -> ItemTable:
    """Encodes a catalogue; `text` and `trained` are explained at `ItemTable`."""
    items = dataset.items
    vocabularies = dataset.attribute_vocabularies
    indices, sizes, numbers, known, scales = {}, {}, {}, {}, {}
    for attribute in dataset.schema.item_attributes:
        if not attribute.learned:
            continue
        values = items[attribute.name]
        if attribute.kind == AttributeKind.NUMERIC:
            raw = values.to_numpy(zero_copy_only=False).astype(np.float64)
            name = attribute.name
            scales[name] = (
                measure_scale(raw) if trained is None else trained.scales[name]
            )
            numbers[name], known[name] = standardise(raw, scales[name])
        else:
            vocabulary = vocabularies[attribute.name]
            sizes[attribute.name] = len(vocabulary)
            indices[attribute.name] = _with_special_rows(
                attribute_indices(values.to_pylist(), attribute, vocabulary)
            )
    counts = items[TRAIN_COUNT].to_numpy().astype(np.int64)
    return ItemTable(
        _with_special_rows(counts),
        indices,
        sizes,
        numbers,
        known,
        text,
        scales,
        trained,
    )


def attribute_indices(
    values: list[str | None], attribute: AttributeSpec, vocabulary: Vocabulary
) -> np.ndarray:
    """Returns int32 `[num_values, num_levels]`; a categorical has one level.

    A path gives one index per prefix: `home/lamps` gives those of `home` and of
    `home/lamps`; tags one per tag.
    """
    # Many items share a value: each is taken apart once.
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    rows = [attribute.tokens(value) for value in places]
    depth = max((len(row) for row in rows), default=0) or 1
    padded = [token for row in rows for token in [*row, *[""] * (depth - len(row))]]
    found = vocabulary.lookup(padded).reshape(len(rows), depth)
    return found[np.fromiter(map(places.get, values), np.int64, len(values))]


def measure_scale(raw: np.ndarray) -> tuple[float, float]:
    """Returns mean and deviation of the known values of `sign(x) * log(1 + |x|)`."""
    scaled = _compress(raw[np.isfinite(raw)])
    if not len(scaled):
        return 0.0, 1.0
    return float(scaled.mean()), float(scaled.std()) or 1.0


def standardise(
    raw: np.ndarray, scale: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 values of mean 0 and deviation 1, and where they are known.

    Rows for padding and unknown items stand before the catalogue's.

    Args:
        raw: float `[num_items]`; NaN is unknown.
        scale: Mean and deviation of the values; None measures them.
    """
    known = np.isfinite(raw)
    mean, deviation = measure_scale(raw) if scale is None else scale
    values = np.where(known, (_compress(raw) - mean) / deviation, 0.0)
    return _with_special_rows(values.astype(np.float32)), _with_special_rows(known)


def _compress(raw: np.ndarray) -> np.ndarray:
    return np.sign(raw) * np.log1p(np.abs(raw))


def _with_special_rows(values: np.ndarray) -> np.ndarray:
    special = np.zeros((NUM_SPECIAL_INDICES, *values.shape[1:]), values.dtype)
    return np.concatenate([special, values])
