"""A tiny prepared dataset and a recommender of plain variables, for export tests."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from tfrec.config import (
    AttributeConfig,
    DataConfig,
    EventColumns,
    ExperimentConfig,
    ExportConfig,
    TableConfig,
)
from tfrec.data.store import FORMAT_VERSION, PreparedDataset
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.request import Request
from tfrec.models.recommender_interface import RankedCandidates
from tfrec.schema import AttributeKind, Schema
from tfrec.text.wordpiece import WordPieceTokenizer
from tfrec.text_config import TextConfig

# Ids that would break a look-up that splits lines or trims them.
ITEM_IDS = ("lamp", "tab\there", 'quo"te', " leading", "灯", "sofa", "mug")
CATEGORIES = (
    "home/lamps",
    "home/lamps",
    "home",
    "office/desks",
    None,
    "home/sofas",
    "kitchen",
)
TITLES = tuple(f"The {name}" for name in ITEM_IDS)
# WordPieces of the titles and of searches.
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "lamp", "sofa", "red", "灯")
BRANDS = ("Acme", "Bolt", None, "Acme", "Bolt", "Rare", "Acme")


def make_config(root: Path, *, has_text: bool = True) -> ExperimentConfig:
    """Returns a configuration with one filter of each kind and a context."""
    return ExperimentConfig(
        name="toy",
        run_dir=root / "run",
        text=TextConfig(encoder="scratch", model=None) if has_text else None,
        data=DataConfig(
            events=TableConfig(paths=("events.parquet",)),
            event_columns=EventColumns(event_type="type", timestamp="time"),
            item_attributes=(
                AttributeConfig(name="category", kind=AttributeKind.PATH),
                AttributeConfig(name="brand"),
                AttributeConfig(name="price", kind=AttributeKind.NUMERIC),
            ),
            context=(
                AttributeConfig(name="country"),
                AttributeConfig(name="basket_value", kind=AttributeKind.NUMERIC),
            ),
            event_types=("view", "cart", "purchase"),
            target_event_types=("view", "purchase"),
        ),
        export=ExportConfig(model_name="toy", filters=("category", "brand")),
    )


def write_dataset(root: Path, config: ExperimentConfig) -> PreparedDataset:
    """Writes the parts of a prepared dataset that export reads."""
    path = root / "prepared"
    (path / "vocabularies").mkdir(parents=True)
    manifest = {
        "format_version": FORMAT_VERSION,
        "schema": config.data.build_schema().to_json(),
        "counts": {"events": 70, "users": 9, "items": len(ITEM_IDS)},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    items = pa.table(
        {
            "item_id": list(ITEM_IDS),
            "title": list(TITLES),
            "train_count": np.arange(len(ITEM_IDS), dtype=np.int64),
            "category": list(CATEGORIES),
            "brand": list(BRANDS),
            "price": np.linspace(1.0, 7.0, len(ITEM_IDS)),
        }
    )
    pq.write_table(items, path / "items.parquet")
    tokens = {
        "category": ["home", "home/lamps"],
        "brand": ["Acme", "Bolt"],  # "Rare" is out of the vocabulary.
        "country": ["GB", "DE"],
    }
    for name, values in tokens.items():
        Vocabulary(values).save(path / "vocabularies" / f"{name}.parquet")
    return PreparedDataset(path)


class FakeRecommender:
    """Scores by the mean of the history, the country, the time since and the search.

    A text is the mean of its WordPieces, where the schema has texts.

    Deliberately no `tf.Module`: the export must find its variables by itself.
    """

    max_history_length = 4
    saved_resources = ()
    num_candidates = 5

    def __init__(
        self, schema: Schema, *, num_items: int, embedding_dim: int = 4
    ) -> None:
        rng = np.random.default_rng(3)

        def variable(*shape: int) -> tf.Variable:
            return tf.Variable(tf.constant(rng.normal(size=shape), tf.float32))

        self.num_items = num_items
        self.num_encoded = 0
        self.schema = schema
        self.items = variable(num_items + 2, embedding_dim)
        self.types = variable(len(schema.event_types) + 2, embedding_dim)
        self.countries = variable(4, embedding_dim)
        self.gap = variable(1, embedding_dim)
        self.ranking = variable(num_items + 2, len(schema.heads))
        self.words = variable(len(WORDS), embedding_dim)
        self.tokenizer = WordPieceTokenizer(WORDS, lower_case=True, max_length=8)

    def query(self, request: Request) -> tf.Tensor:
        """Returns float32 `[batch_size, embedding_dim]`."""
        mask = tf.cast(request.history_mask, tf.float32)[:, :, tf.newaxis]
        events = tf.gather(self.items, request.item_index)
        events += tf.gather(self.types, request.event_type_index)
        events += request.dwell_seconds[:, :, tf.newaxis] / 100.0
        count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
        newest = tf.reduce_max(request.timestamps, axis=1)
        gap = tf.where(newest > 0, request.request_timestamp - newest, 0)
        gap = tf.cast(gap, tf.float32) / 1000.0
        basket = request.context.get("basket_value", tf.zeros_like(gap))
        basket = tf.where(tf.math.is_nan(basket), 0.0, basket)
        query = tf.reduce_sum(events * mask, axis=1) / count
        query += (gap + basket)[:, tf.newaxis] * self.gap
        query += tf.gather(self.countries, request.context["country"])
        if isinstance(request.query_text, tuple):
            return query
        return query + request.query_text

    def encode_texts(self, texts: tf.Tensor) -> tf.Tensor | tuple[()]:
        """Implements the protocol."""
        if not self.schema.has_text:
            return ()
        token_ids, mask = self.tokenizer(texts)
        mask = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
        total = tf.reduce_sum(tf.gather(self.words, token_ids) * mask, axis=1)
        return total / tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)

    def query_embeddings(self, encoded: tf.Tensor) -> tf.Tensor:
        """Implements the protocol."""
        return tf.math.l2_normalize(encoded, axis=1)

    def text_embeddings(self, texts: tf.Tensor) -> tf.Tensor:
        """Implements the protocol."""
        return tf.math.l2_normalize(self.encode_texts(texts), axis=1)

    def encode(self, request: Request) -> tf.Tensor:
        """Implements the protocol; counts how often."""
        self.num_encoded += 1
        return self.query(request)

    def scores_of(self, encoded: tf.Tensor) -> tf.Tensor:
        """Implements the protocol."""
        return tf.matmul(encoded, self.items[2:], transpose_b=True)

    def rank(
        self,
        request: Request,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: tf.Tensor,
    ) -> RankedCandidates:
        """Implements the protocol."""
        bias = tf.gather(self.ranking, candidate_index)  # [batch, candidates, heads]
        logits = bias + 0.1 * retrieval_scores[:, :, tf.newaxis]
        logits += encoded[:, :1, tf.newaxis]
        is_item = candidate_index > 1
        probabilities = tf.where(is_item[:, :, tf.newaxis], tf.sigmoid(logits), 0.0)
        scores = tf.where(is_item, tf.reduce_sum(logits, axis=2), float("-inf"))
        names = self.schema.heads
        return RankedCandidates(
            scores, {name: probabilities[:, :, i] for i, name in enumerate(names)}
        )

    def candidate_embeddings(self) -> tf.Tensor:
        """Implements the protocol."""
        return tf.math.l2_normalize(self.items[2:], axis=1)
