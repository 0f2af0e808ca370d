"""Which items pass a request's filters, inside the graph."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec.data.vocabulary import Vocabulary
from tfrec.features.lookup import VocabularyLookup
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, AttributeSpec


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
        self._size = len(vocabulary)
        self._lookup = VocabularyLookup(vocabulary, asset_path)
        index = {value: vocabulary.lookup(row) for value, row in tokens.items()}
        depth = max((len(row) for row in index.values()), default=0) or 1
        levels = np.zeros((depth, len(values)), np.int32)
        for column, value in enumerate(values):
            if value:
                levels[: len(index[value]), column] = index[value]
        self._levels = tf.constant(levels)  # [num_levels, num_items]
        self.examples = tuple(distinct[:3])

    def passes(self, filter_values: tf.Tensor) -> tf.Tensor:
        """Returns which items pass.

        Args:
            filter_values: string `[batch_size, num_filter_values]`, "" is
                padding.

        Returns:
            bool `[batch_size, num_items]`.
        """
        index = self._lookup.lookup(filter_values)
        row = tf.range(tf.shape(index)[0])[:, tf.newaxis]
        target = tf.stack([tf.broadcast_to(row, tf.shape(index)), index], axis=-1)
        is_value = tf.cast(index >= NUM_SPECIAL_INDICES, tf.int32)
        shape = tf.stack([tf.shape(index)[0], self._size])
        allowed = tf.scatter_nd(target, is_value, shape) > 0  # [batch_size, size]
        passes = tf.reduce_any(tf.gather(allowed, self._levels, axis=1), axis=1)
        says_nothing = tf.reduce_all(tf.equal(index, 0), axis=1, keepdims=True)
        return tf.logical_or(says_nothing, passes)
