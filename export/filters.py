"""Which items pass a request's filters, inside the graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.masks import MISSING_SCORE
from tfrec.data.store import PreparedDataset
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.lookup import VocabularyLookup
from tfrec.schema import FILTER_PREFIX, AttributeKind, AttributeSpec, Schema


class ItemFilter(tf.Module):
    """Compares one attribute of every item with the values a request allows.

    An item passes if any of its values is allowed: for a path each prefix counts
    (`home` lets `home/lamps` pass), for tags each tag. A request without values
    lets everything pass; a value that no item has lets nothing pass.

    The values are those of the catalogue, not of the attribute's vocabulary,
    which leaves rare ones out.

    Args:
        values: The attribute of every item, in catalogue order; None is missing.
        attribute: Its name and kind. Not numeric.
        asset_path: Where to write the values. Must stay until the SavedModel is
            written.

    Raises:
        ValueError: If the attribute is numeric.
    """

    def __init__(
        self,
        values: Sequence[str | None],
        attribute: AttributeSpec,
        *,
        asset_path: Path,
    ) -> None:
        super().__init__()
        if attribute.kind == AttributeKind.NUMERIC:
            raise ValueError(
                "`export.filters` must name categorical, path or tags attributes. "
                f"Received: '{attribute.name}', which is numeric. Leave it out."
            )
        tokens = {value: attribute.tokens(value) for value in set(values) if value}
        distinct = sorted({token for row in tokens.values() for token in row})
        vocabulary = Vocabulary(distinct)
        self._lookup = VocabularyLookup(vocabulary, asset_path)
        self._num_items = len(values)
        self._items_by_value = _items_by_value(values, tokens, vocabulary)
        self.examples = tuple(distinct[:3])

    def mask(self, scores: tf.Tensor, filter_values: tf.Tensor) -> tf.Tensor:
        """Sets the scores of items that do not pass to -inf.

        Nothing is computed where no row of the batch says a value; else the cost
        goes with the items that have the values, not with the catalogue.

        Args:
            scores: float32 `[batch_size, num_items]`.
            filter_values: string `[batch_size, num_filter_values]`, "" is
                padding.

        Returns:
            float32 `[batch_size, num_items]`.
        """
        is_value = tf.not_equal(filter_values, "")

        def masked() -> tf.Tensor:
            says_nothing = tf.reduce_all(
                tf.logical_not(is_value), axis=1, keepdims=True
            )
            passes = tf.logical_or(says_nothing, self._passes(filter_values))
            return tf.where(passes, scores, MISSING_SCORE)

        return tf.cond(tf.reduce_any(is_value), masked, lambda: scores)

    def _passes(self, filter_values: tf.Tensor) -> tf.Tensor:
        index = self._lookup.lookup(filter_values)
        batch_size, num_values = tf.unstack(tf.shape(index))
        found = tf.gather(self._items_by_value, tf.reshape(index, [-1]))
        row = found.value_rowids() // num_values
        target = tf.stack([row, found.values], axis=1)  # [num_found, 2]
        shape = tf.stack([batch_size, self._num_items])
        return tf.scatter_nd(target, tf.ones_like(row), shape) > 0


def _items_by_value(
    values: Sequence[str | None],
    tokens: Mapping[str, Sequence[str]],
    vocabulary: Vocabulary,
) -> tf.RaggedTensor:
    """Returns int32 `[num_values + 2, (num_items)]`: the items that have a value.

    Rows 0 and 1, padding and values that no item has, are empty.
    """
    index = {value: vocabulary.lookup(row) for value, row in tokens.items()}
    rows = [index[value] if value else () for value in values]
    items = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
    value_index = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
    order = np.argsort(value_index, kind="stable")
    splits = np.searchsorted(value_index[order], np.arange(len(vocabulary) + 1))
    return tf.RaggedTensor.from_row_splits(  # pyright: ignore[reportAttributeAccessIssue]
        tf.constant(items[order]), tf.constant(splits, tf.int32)
    )


def item_filters(
    schema: Schema, dataset: PreparedDataset, asset_dir: Path
) -> dict[str, ItemFilter]:
    """Builds the filter of every attribute that `schema.filters` names."""
    attributes = {a.name: a for a in schema.item_attributes}
    return {
        name: ItemFilter(
            dataset.items[name].to_pylist(),
            attributes[name],
            asset_path=asset_dir / f"{FILTER_PREFIX}{name}.txt",
        )
        for name in schema.filters
    }
