"""Client of a tfrec recommender on TensorFlow Serving; imports no TensorFlow."""

from tfrec_client.async_client import AsyncRecommenderClient
from tfrec_client.client import RecommenderClient
from tfrec_client.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotReadyError,
    RecommenderError,
    SchemaMismatchError,
)
from tfrec_client.requests import (
    Event,
    QueryRequest,
    RankRequest,
    RecommendationRequest,
)
from tfrec_client.results import (
    RankedItem,
    Recommendation,
    ScoredItem,
    VersionStatus,
)

__all__ = [
    "AsyncRecommenderClient",
    "DeadlineExceededError",
    "Event",
    "InvalidRequestError",
    "ModelNotReadyError",
    "QueryRequest",
    "RankRequest",
    "RankedItem",
    "Recommendation",
    "RecommendationRequest",
    "RecommenderClient",
    "RecommenderError",
    "SchemaMismatchError",
    "ScoredItem",
    "VersionStatus",
]
