"""Candidates of many requests with what became of them, as arrays."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class RankingLists:
    """Candidates of many requests with what became of them.

    Attributes:
        user_rows: int32 `[num_lists]`.
        history_ends: int64 `[num_lists]`, absolute, exclusive.
        request_timestamps: int64 `[num_lists]`.
        context: Per context attribute `[num_lists]`.
        candidate_index: int32 `[num_lists, num_candidates]`; 0 is padding.
        labels: int8 `[num_lists, num_candidates, num_heads]`: 1, 0 or -1.
        query_embeddings: float32 `[num_lists, embedding_dim]`, or `[num_lists,
            num_interests, embedding_dim]`.
        retrieval_scores: float32 `[num_lists, num_candidates]`.
        relevant: bool `[num_lists, num_candidates]`, the positives of retrieval.
        num_relevant: int32 `[num_lists]`, positives, also those not retrieved.
        positions: int32 `[num_lists, num_candidates]`, place in the shown list from
            1; 0 unknown. This and the next two are None where nothing learns from it.
        propensities: float32, same shape, logged chance of being seen; NaN unknown.
        dwell_seconds: float32, same shape; 0 unknown.
        taught: bool `[num_lists, num_heads]`, heads that learn from the list; None:
            all of them.
    """

    user_rows: np.ndarray
    history_ends: np.ndarray
    request_timestamps: np.ndarray
    context: dict[str, np.ndarray]
    candidate_index: np.ndarray
    labels: np.ndarray
    query_embeddings: np.ndarray
    retrieval_scores: np.ndarray
    relevant: np.ndarray
    num_relevant: np.ndarray
    positions: np.ndarray | None = None
    propensities: np.ndarray | None = None
    dwell_seconds: np.ndarray | None = None
    taught: np.ndarray | None = None

    @property
    def num_lists(self) -> int:
        """Number of lists."""
        return len(self.user_rows)

    def take(self, rows: np.ndarray) -> "RankingLists":
        """Returns some of the lists."""
        picked = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                picked[field.name] = {k: v[rows] for k, v in value.items()}
            else:
                picked[field.name] = None if value is None else value[rows]
        return RankingLists(**picked)
