"""Typed results."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item and its score; higher is better."""

    item_id: str
    score: float


@dataclass(frozen=True, slots=True)
class RankedItem:
    """A given candidate with its final score and the probability per head.

    Attributes:
        item_id: Key in the catalogue.
        score: Final score.
        probabilities: Per ranking head, for example `{"purchase": 0.03}`.
        dwell_seconds: Predicted stay on the item; None if the model predicts none.
    """

    item_id: str
    score: float
    probabilities: dict[str, float]
    dwell_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recommended item.

    Attributes:
        item_id: Key in the catalogue.
        score: Final score; the list is in its order.
        retrieval_score: Score of the retrieval model.
        probabilities: Per ranking head, for example `{"purchase": 0.03}`.
        dwell_seconds: Predicted stay on the item; None if the model predicts none.
    """

    item_id: str
    score: float
    retrieval_score: float
    probabilities: dict[str, float]
    dwell_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """State of one version of a model on the server.

    Attributes:
        version: Number of the version.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        error_message: Why loading failed; "" if it did not.
    """

    version: int
    state: str
    error_message: str = ""
