"""The texts of a shop, encoded: what its items are called, what is searched for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from tfrec.config import ExperimentConfig
from tfrec.data.searches import is_search, searched_texts
from tfrec.data.store import (
    TEXT_DIR,
    TITLE,
    TRAIN,
    VALIDATION,
    EventSequences,
    PreparedDataset,
)
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, AttributeSpec, Schema
from tfrec.text.cache import encode_cached
from tfrec.text.clean import clean_texts
from tfrec.text.encoder_checks import (
    check_reads_requests,
    check_same_encoder,
    warn_of_unread_texts,
)
from tfrec.text.pseudo_searches import make_pseudo_searches
from tfrec.text.reader import TextReader
from tfrec.text.shop_encoder import (
    build_shop_encoder,
    no_texts,
    texts_to_learn,
)
from tfrec.text_config import TextConfig, check_text_fields


@dataclass(frozen=True)
class TextTable:
    """Distinct texts with their vectors.

    Attributes:
        texts: Text j has the row j + 1, row 0 is none.
        vectors: float32 `[num_texts + 1, text_dim]`; row 0 is zeros.
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
        reader: The encoder with the texts of the catalogue.
        items: float32 `[num_items + 2, text_dim]`; zeros where there are no words.
        searches: The log's searches, those that led to events and those that are
            events, and those made of titles; None if there are none.
        pseudo_searches: object `[num_items + 2]` of str, where no search of the log
            led to an item: the search that is taken to have led to each item.
        histories: What users had seen before their last target event, joined; None
            where histories are not read as one text.
    """

    reader: TextReader
    items: np.ndarray
    searches: TextTable | None
    histories: TextTable | None
    pseudo_searches: np.ndarray | None = None

    def search_rows(self, sequences: EventSequences) -> np.ndarray | None:
        """Returns int32 `[num_events]` rows in `searches`; None without any."""
        if self.searches is None:
            return None
        if self.pseudo_searches is not None:
            return self.searches.rows(self.pseudo_searches[sequences.item_index])
        return self.searches.rows(sequences.query_text)

    def history_rows(
        self, sequences: EventSequences, schema: Schema
    ) -> np.ndarray | None:
        """Returns int32 `[num_events]` rows in `histories`; None without any."""
        if self.histories is None:
            return None
        return self.histories.rows(history_texts(self.reader, sequences, schema))

    def past_search_rows(
        self, sequences: EventSequences, schema: Schema
    ) -> np.ndarray | None:
        """Returns int32 `[num_events]` rows in `searches` of the events themselves.

        0 for events that are no search; None where there are none.
        """
        texts = searched_texts(sequences, schema)
        if texts is None or self.searches is None:
            return None
        return self.searches.rows(texts)


def item_texts(dataset: PreparedDataset, fields: Sequence[str]) -> list[str]:
    """Returns the text of every item, "" where there is none.

    Raises:
        ValueError: If a field is no attribute with words.
    """
    check_text_fields(fields, dataset.schema.item_attributes)
    attributes = {a.name: a for a in dataset.schema.item_attributes}
    columns = []
    for name in fields:
        if name == TITLE:
            columns.append([value or "" for value in dataset.items[TITLE].to_pylist()])
        else:
            columns.append(_words(dataset, attributes[name]))
    return [". ".join(filter(None, parts)) for parts in zip(*columns, strict=True)]


def load_shop_texts(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    sequences: EventSequences,
    *,
    is_trained: bool = False,
    expected_hash: str | None = None,
) -> ShopTexts | None:
    """Encodes what is not in the cache; None where no text is configured.

    Args:
        config: Of the experiment.
        dataset: The prepared dataset.
        sequences: All events.
        is_trained: Whether models were trained on what the encoder gave: then none
            is trained in its place.
        expected_hash: `loaded_hash` of the encoder that models were trained on; None
            takes any.

    Raises:
        FileNotFoundError: If the encoder of trained models is gone.
        ValueError: If the encoder is not the expected one, or cannot read what the
            configuration wants read.
    """
    settings = config.text
    if settings is None:
        return None
    # Special rows have no text.
    strings = [*[""] * NUM_SPECIAL_INDICES, *item_texts(dataset, settings.fields)]
    encoder = build_shop_encoder(
        settings,
        dataset,
        no_texts if is_trained else lambda: texts_to_learn(strings, dataset, sequences),
        seed=config.seed,
    )
    check_same_encoder(settings, encoder, expected_hash)
    reads_requests = check_reads_requests(config, encoder)
    if not is_trained:
        warn_of_unread_texts(encoder, strings)
    reader = TextReader(encoder, strings, reads_histories=settings.sequence == "single")

    def encode(wanted: Sequence[str], what: str) -> np.ndarray:
        return encode_cached(
            encoder,
            wanted,
            folder=settings.cache_dir or dataset.path / TEXT_DIR,
            batch_tokens=settings.batch_tokens,
            description=f"Encode {what}",
        )

    def table(wanted: set[str], what: str) -> TextTable:
        texts = sorted(wanted - {""})
        return TextTable(tuple(texts), encode(["", *texts], what))

    searches, pseudo = None, None
    if reads_requests:
        found = set(sequences.query_text.tolist())
        pseudo = _pseudo_searches(config, settings, strings, sequences)
        found |= set() if pseudo is None else set(pseudo.tolist())
        searches = table(found, "searches") if found - {""} else None
    is_frozen = settings.training == "frozen"
    if searches is not None and config.data.search_event_type and is_frozen:
        reader.learn(searches.texts, searches.vectors[1:])  # Validation reads them.
    histories = None
    if reader.reads_histories:
        joined = history_texts(reader, sequences, config.experiment_schema)
        histories = table(set(joined.tolist()), "histories")
    return ShopTexts(
        reader,
        encode(strings, "item texts"),
        searches,
        histories,
        pseudo,
    )


def _pseudo_searches(
    config: ExperimentConfig,
    settings: TextConfig,
    strings: Sequence[str],
    sequences: EventSequences,
) -> np.ndarray | None:
    """Returns object `[num_items + 2]` of str; None where the log's own do."""
    if settings.pseudo_search_share == 0.0:
        return None
    if _lead_somewhere(sequences, config.experiment_schema):
        return None
    # Cleaned first: words are taken out of the titles, and a part of a tag is none.
    titles = clean_texts(strings)
    return np.array(make_pseudo_searches(titles, seed=config.seed), object)


def _lead_somewhere(sequences: EventSequences, schema: Schema) -> bool:
    """Returns whether any event of an item says which search led to it."""
    leading = sequences.query_text[~is_search(sequences, schema)]
    return bool(np.any(leading != ""))


def history_texts(
    reader: TextReader, sequences: EventSequences, schema: Schema
) -> np.ndarray:
    """Returns object `[num_events]` of str: the joined texts before an event.

    Only before each user's last target event of the training, and of the
    validation split: a text for every event would take days to encode. The others
    are "", and learn to do without.
    """
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    is_target = np.isin(sequences.event_type_index, types)
    searched = searched_texts(sequences, schema)
    if searched is not None:
        reader.said(searched)  # All at once: one by one takes a millisecond each.
    texts = np.full(len(is_target), "", object)
    for split in (TRAIN, VALIDATION):
        events = np.flatnonzero(is_target & (sequences.split == split))
        users = sequences.user_rows[events]
        is_last = np.append(np.diff(users) != 0, [True])[: len(users)]
        last = events[is_last]
        for event in last:
            start = sequences.offsets[sequences.user_rows[event]]
            past = slice(start, event)
            texts[event] = reader.join(
                sequences.item_index[None, past],
                () if searched is None else searched[None, past],
            )[0]
    return texts


def _words(dataset: PreparedDataset, attribute: AttributeSpec) -> list[str]:
    """Returns the levels or tags of an attribute, joined by spaces."""
    values = dataset.items[attribute.name].to_pylist()
    separator = attribute.separator
    if attribute.kind == AttributeKind.CATEGORICAL:
        return [value or "" for value in values]
    return [" ".join((value or "").split(separator)) for value in values]
