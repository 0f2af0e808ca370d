"""The texts of a shop, encoded: what its items are called, what is searched for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfrec.config import ExperimentConfig
from tfrec.data.store import TITLE, EventSequences, PreparedDataset
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, AttributeSpec
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

CACHE_DIR = "text"  # In the prepared dataset.


@dataclass(frozen=True)
class Searches:
    """The distinct searches of a log.

    Attributes:
        texts: As they were typed; search j has the row j + 1, row 0 is none.
        vectors: float32 `[num_searches + 1, text_dim]`; row 0 is zeros.
    """

    texts: tuple[str, ...]
    vectors: np.ndarray

    @cached_property
    def _row_of_text(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts, start=1)}

    def rows(self, texts: np.ndarray) -> np.ndarray:
        """Returns int32 rows of texts; 0 for "" and for what is not known."""
        encoded = pa.array(texts, pa.string()).dictionary_encode()
        known = [self._row_of_text.get(t, 0) for t in encoded.dictionary.to_pylist()]
        return np.array(known, np.int32)[encoded.indices.to_numpy()]


@dataclass(frozen=True)
class ShopTexts:
    """What the text encoder made of a shop.

    Attributes:
        encoder: The encoder.
        items: float32 `[num_items + 2, text_dim]`; zeros where there are no words.
        searches: The log's searches; None if it has none.
    """

    encoder: TextEncoder
    items: np.ndarray
    searches: Searches | None


def item_texts(dataset: PreparedDataset, fields: Sequence[str]) -> list[str]:
    """Returns the text of every item, "" where there is none.

    Raises:
        ValueError: If a field is no attribute with words.
    """
    attributes = {a.name: a for a in dataset.schema.item_attributes}
    columns = []
    for name in fields:
        if name == TITLE:
            columns.append([value or "" for value in dataset.items[TITLE].to_pylist()])
        else:
            columns.append(_words(dataset, _text_attribute(attributes, name)))
    return [". ".join(filter(None, parts)) for parts in zip(*columns, strict=True)]


def load_shop_texts(
    config: ExperimentConfig, dataset: PreparedDataset, sequences: EventSequences
) -> ShopTexts | None:
    """Encodes what is not in the cache; None where no text is configured."""
    settings = config.text
    if settings is None:
        return None
    texts = item_texts(dataset, settings.fields)
    found = sorted(set(sequences.query_text.tolist()) - {""})
    encoder = build_shop_encoder(settings, dataset, [*texts, *found])
    folder = settings.cache_dir or dataset.path / CACHE_DIR

    def encode(wanted: Sequence[str], what: str, num_empty: int) -> np.ndarray:
        vectors = encode_cached(
            encoder,
            wanted,
            folder=folder,
            batch_tokens=settings.batch_tokens,
            description=f"Encode {what}",
        )
        return np.pad(vectors, [(num_empty, 0), (0, 0)])

    searches = None
    if found:
        searches = Searches(tuple(found), encode(found, "searches", 1))
    items = encode(texts, "item texts", NUM_SPECIAL_INDICES)
    return ShopTexts(encoder, items, searches)


def build_shop_encoder(
    settings: TextConfig, dataset: PreparedDataset, texts: Sequence[str]
) -> TextEncoder:
    """Builds the encoder; `texts` are what `scratch` learns from."""
    folder = (settings.cache_dir or dataset.path / CACHE_DIR) / "scratch"
    return build_text_encoder(settings, texts=lambda: texts, scratch_dir=Path(folder))


def _text_attribute(attributes: dict[str, AttributeSpec], name: str) -> AttributeSpec:
    attribute = attributes.get(name)
    if attribute is None or attribute.kind == AttributeKind.NUMERIC:
        words = [n for n, a in attributes.items() if a.kind != AttributeKind.NUMERIC]
        raise ValueError(
            f"`text.fields` must name `{TITLE}` or item attributes with words. "
            f"Received: {name!r}, expected one of {[TITLE, *words]}."
        )
    return attribute


def _words(dataset: PreparedDataset, attribute: AttributeSpec) -> list[str]:
    """Returns the levels or tags of an attribute, joined by spaces."""
    values = dataset.items[attribute.name].to_pylist()
    separator = attribute.separator
    if attribute.kind == AttributeKind.CATEGORICAL:
        return [value or "" for value in values]
    return [" ".join((value or "").split(separator)) for value in values]
