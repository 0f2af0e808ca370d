"""The candidates' half of the two-tower retrieval model."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.models.candidate_tower import CandidateTower
from tfrec.models.new_items import TextNeighbours, find_text_neighbours
from tfrec.models.text_match import TextMatch
from tfrec.models.trainable_model import TrainableModel
from tfrec.models.trained_texts import TrainedTexts
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX


class CatalogueModel(TrainableModel):
    """What retrieval knows of items, whoever asks: vectors, biases, texts.

    An item that training never saw has the id and the bias of the unknown item. To its
    vector is added the mean vector of the known items whose texts are most like its own
    (`find_text_neighbours`), to its bias what theirs is above the mean, and
    `new_item_logit` and `new_item_lift`, fitted last (`tfrec.training.new_items`).

    Args:
        config: The model's configuration.
        item_table: The catalogue.
        num_event_types: Event types of the schema.
        text_match_dim: Width of `TextMatch`; 0 for none. Needs texts.
        trained_texts: The text encoder, where it is trained; None where it is frozen.
        **kwargs: Passed to `TrainableModel`.
    """

    def __init__(
        self,
        config: RetrievalConfig,
        item_table: ItemTable,
        *,
        num_event_types: int,
        text_match_dim: int = 0,
        trained_texts: TrainedTexts | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_items = item_table.num_items
        self.trained_texts = trained_texts
        self.candidate_tower = CandidateTower(
            config.embedding_dim,
            item_table,
            id_dropout=config.id_dropout,
            text_is_trained=trained_texts is not None,
        )
        self.text_match = (
            TextMatch(text_match_dim, item_table, num_event_types=num_event_types)
            if text_match_dim and item_table.text is not None
            else None
        )
        if self.text_match is not None:
            self.text_match.build(None)  # It is asked for vectors before it is called.
        self.is_known = item_table.train_count > 0  # [num_items + 2]
        self.is_known[:NUM_SPECIAL_INDICES] = False
        self.neighbours: TextNeighbours | None = None  # See `update_neighbours`.
        self._train_count = item_table.train_count
        counts = item_table.train_count[NUM_SPECIAL_INDICES:].astype(np.float32)
        smoothed = np.log(np.pad(counts, (NUM_SPECIAL_INDICES, 0)) + 0.5)
        start = smoothed - smoothed[NUM_SPECIAL_INDICES:].mean()
        # By id row: items that training never saw share that of the unknown item.
        self.bias_rows = self.add_weight(
            name="item_bias",
            shape=(self.num_items + NUM_SPECIAL_INDICES,),
            initializer=tf.keras.initializers.Constant(config.bias_start * start),
        )
        # Not a row of the above: those may be trained, and this one is a choice.
        self.new_item_logit = self.add_weight(
            name="new_item_logit", shape=(), initializer="zeros", trainable=False
        )
        self.new_item_lift = self.add_weight(  # Where `NewItemLimit` holds, above that.
            name="new_item_lift", shape=(), initializer="zeros", trainable=False
        )
        # Items without a training event teach nothing but "never". Where something
        # else than the id tells items apart, they are left out.
        self.never_shown = np.where(
            (counts == 0.0) & self.candidate_tower.has_content, -np.inf, 0.0
        ).astype(np.float32)

    @property
    def all_items(self) -> tf.Tensor:
        """int32 `[num_items + 2]`: every item index, also padding and unknown."""
        return tf.range(self.num_items + NUM_SPECIAL_INDICES)

    def match_texts(self) -> tf.Tensor | None:
        """Returns float32 `[num_items + 2, match_dim]`; None without `TextMatch`."""
        if self.text_match is None:
            return None
        return self.text_match.embed(tf.stop_gradient(self.candidate_tower.text_rows))

    def item_vectors(self, neighbours: TextNeighbours | None = None) -> tf.Tensor:
        """Returns float `[num_items + 2, embedding_dim]`, not normalised.

        Args:
            neighbours: Of the items to take for new ones; None: of those that are new.
        """
        neighbours = neighbours or self.neighbours
        vectors = self.candidate_tower(self.all_items, self._id_rows(neighbours))
        return vectors if neighbours is None else neighbours.lend(vectors, vectors)

    def _id_rows(self, neighbours: TextNeighbours | None) -> tf.Tensor:
        """Returns int32 `[num_items + 2]`, 1 for what is taken for new."""
        rows = self.candidate_tower.id_rows(self.all_items)
        if neighbours is None:
            return rows
        unknown = np.full(len(neighbours.new), OOV_INDEX, np.int32)
        return tf.tensor_scatter_nd_update(rows, neighbours.new[:, np.newaxis], unknown)

    def update_neighbours(self) -> None:
        """Finds known items for new ones by the texts as they are encoded now."""
        if self.neighbours is None or self.trained_texts is not None:
            self.neighbours = self.find_neighbours(~self.is_known)

    def find_neighbours(self, is_new: np.ndarray) -> TextNeighbours | None:
        """Finds known items for some that are taken for new.

        Args:
            is_new: bool `[num_items + 2]`.

        Returns:
            None without texts, or where nobody is new or nobody known.
        """
        texts = self.candidate_tower.text_rows
        if texts is None:
            return None
        if self.text_match is not None:
            texts = self.text_match.embed(tf.convert_to_tensor(texts))
        return find_text_neighbours(np.asarray(texts), self._train_count, is_new=is_new)

    def text_embeddings(self, text: tf.Tensor) -> tf.Tensor:
        """Returns the candidate embeddings of encoded texts without an item.

        Args:
            text: float `[num_texts, text_dim]`; zeros where there are no words.

        Returns:
            float32 `[num_texts, embedding_dim]`, L2-normalised; zeros stay zeros.
        """
        projected = tf.cast(self.candidate_tower.embed_text(text), tf.float32)
        return tf.math.l2_normalize(projected, axis=-1)

    def item_bias(self, neighbours: TextNeighbours | None = None) -> tf.Tensor:
        """Returns float32 `[num_items]`; `neighbours` as in `item_vectors`."""
        neighbours = neighbours or self.neighbours
        rows = self._id_rows(neighbours)
        bias = tf.gather(self.bias_rows, rows)
        if neighbours is not None:
            mean = tf.reduce_mean(tf.boolean_mask(self.bias_rows, self.is_known))
            columns = bias[:, tf.newaxis]
            bias = neighbours.lend(columns, columns - mean)[:, 0]
        bias += tf.where(rows == OOV_INDEX, self.new_item_logit, 0.0)
        return bias[NUM_SPECIAL_INDICES:]

    def candidate_embeddings(
        self, neighbours: TextNeighbours | None = None
    ) -> tf.Tensor:
        """Returns float32 `[num_items, embedding_dim]`, L2-normalised.

        `neighbours` are as in `item_vectors`.
        """
        items = self.item_vectors(neighbours)[NUM_SPECIAL_INDICES:]
        return tf.math.l2_normalize(tf.cast(items, tf.float32), axis=-1)

    def candidate_keys(
        self,
        neighbours: TextNeighbours | None = None,
        candidates: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns what `query_keys` are multiplied with, float32 `[num_items, dim]`.

        The candidate embeddings come first; behind them what texts are compared by.

        Args:
            neighbours: As in `item_vectors`.
            candidates: What `candidate_embeddings` gives; None works it out.
        """
        if candidates is None:
            candidates = self.candidate_embeddings(neighbours)
        match_texts = self.match_texts()
        if self.text_match is None or match_texts is None:
            return candidates
        rows = self._id_rows(neighbours or self.neighbours)
        texts = self.text_match.weighted(match_texts, rows)[NUM_SPECIAL_INDICES:]
        return tf.concat([candidates, texts], axis=1)
