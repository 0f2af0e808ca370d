"""Vocabularies: strings to indices, with counts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX, PADDING_INDEX


class Vocabulary:
    """Maps tokens to indices: 0 is padding (""), 1 unknown, token i is i + 2.

    Args:
        tokens: Distinct, non-empty strings, in index order.
        counts: int64 `[num_tokens]`, how often training saw each; zeros if
            not given.

    Raises:
        ValueError: If tokens repeat, are empty, or the counts do not fit.
    """

    def __init__(self, tokens: Sequence[str], counts: np.ndarray | None = None) -> None:
        self.tokens = list(tokens)
        self.counts = np.zeros(len(self.tokens), np.int64) if counts is None else counts
        self._index = {t: i + NUM_SPECIAL_INDICES for i, t in enumerate(self.tokens)}
        if len(self._index) != len(self.tokens) or "" in self._index:
            raise ValueError(
                "`tokens` must be distinct and not empty. Received: "
                f"{len(self.tokens)} tokens, {len(self._index)} distinct."
            )
        if self.counts.shape != (len(self.tokens),):
            raise ValueError(
                "`counts` must have one number per token. Received: "
                f"counts.shape={self.counts.shape}, {len(self.tokens)} tokens."
            )

    def __len__(self) -> int:
        """Returns the size of a table over all indices, special ones included."""
        return len(self.tokens) + NUM_SPECIAL_INDICES

    def lookup(self, values: Sequence[str | None]) -> np.ndarray:
        """Returns int32 indices; "" and None are padding, unknown ones are 1."""
        find = self._index.get
        return np.fromiter(
            (PADDING_INDEX if not v else find(v, OOV_INDEX) for v in values),
            np.int32,
            len(values),
        )

    def save(self, path: Path) -> None:
        """Writes a Parquet file with the columns `token` and `count`."""
        table = pa.table({"token": self.tokens, "count": self.counts})
        pq.write_table(table, path)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads what `save` wrote."""
        table = pq.read_table(path)
        return cls(table["token"].to_pylist(), table["count"].to_numpy())
