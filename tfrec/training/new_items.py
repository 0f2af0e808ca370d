"""Gives items that training never saw as much room as the configuration allows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from rich.progress import track

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences
from tfrec.evaluation.model_scorers import RetrievalScorer, spec_of
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.features.request import Request
from tfrec.models.new_item_places import TEN, met_items
from tfrec.models.new_items import TextNeighbours
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.reader import TextReader

K = 10  # Places of the list whose NDCG is watched.
LEAST_SHARE = 0.05  # Of the catalogue; known items stand in for new ones up to that.
_MAX_QUERIES = 8_000
_BATCH_SIZE = 128
_MIN_HITS = 100  # Targets in the list: with fewer its NDCG says nothing.
_LOWEST = -30.0  # A factor of e^-30 moves every item to the end.
_HIGHEST = 1.0
_NUM_HALVINGS = 40


class WithoutNewItems:
    """Scores as another scorer does; items that training never saw are not listed.

    Args:
        scorer: Gives log-probabilities.
        model: Knows which items those are.
    """

    def __init__(self, scorer: RetrievalScorer, model: RetrievalModel) -> None:
        self.name = scorer.name
        self._scorer = scorer
        self._never_shown = model.never_shown

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[num_rows, num_items]`."""
        return self._scorer.score(sequences, queries, rows) + self._never_shown


class Places(NamedTuple):
    """Where the targets of some queries stand, and who stands near.

    Attributes:
        rank: int64 `[num_queries]`, known items ahead of the target or level with it.
        behind: int64 `[num_queries]`, of these, items that the shopper has not met.
        gaps: float32 `[num_queries, K]`, score of the target minus those of the best
            new items, smallest first; inf where there are fewer.
    """

    rank: np.ndarray
    behind: np.ndarray
    gaps: np.ndarray

    def ndcg(self, logit: float, *, per_ten: int = TEN) -> float:
        """Returns the mean NDCG@K with `logit` added to the scores of new items.

        Of K places they take the last `per_ten` at most, see `NewItemLimit`.
        """
        ahead = (self.gaps[:, :per_ten] <= logit).sum(axis=1)
        rank = self.rank + np.where(self.behind >= TEN - per_ten, ahead, 0)
        return float(np.where(rank < K, 1.0 / np.log2(rank + 2.0), 0.0).mean())


def fit_new_item_logit(
    config: ExperimentConfig,
    sequences: EventSequences,
    model: RetrievalModel,
    text_reader: TextReader | None,
) -> dict[str, float]:
    """Moves new items until they cost what `retrieval.new_item_budget` allows.

    Nothing in training tells how high the scores of items may be that are never in the
    softmax. Where texts or attributes bring them between the known ones, how much room
    they get is a choice, not an estimate: the share of NDCG@10 that validation targets
    among known items may lose to new items in the list, which are `new_items_per_ten`
    at most. Where those are few, new items may be pulled ahead, too, by a factor of e:
    from further behind all of them would stand close to the border, and a little more
    training could let them over it. Without such a limit they are only held back.

    New are the catalogue's items without a training event. Where they are few, as in a
    catalogue made from the log, known ones picked by seed stand in for them, without
    their id: up to a twentieth of the catalogue.

    Args:
        config: Of the experiment.
        sequences: All events.
        model: Trained; its `new_item_logit` and `new_item_lift` are set, nothing else.
        text_reader: Reads texts of histories.

    Returns:
        `logit` (added to those of new items, 0 at most), `lift` (added beside it where
        they are limited, so that both are 1 at most), `ndcg_without` (lists of known
        items alone), `ndcg_with`, and `num_new`: with more it costs more. Empty
        without a budget, without texts and attributes, or with fewer than a hundred
        validation targets in the lists.

    References:
        - Schein et al., "Methods and metrics for cold-start recommendations", SIGIR
          2002 (the problem, and why its measure is apart from that of known items).
    """
    budget = config.retrieval.new_item_budget
    if budget is None or not model.candidate_tower.has_content:
        return {}
    is_new, neighbours = _choose_new(model, seed=config.seed)
    queries = _known_targets(config, sequences, is_new)
    if queries.num_queries < _MIN_HITS or not is_new.any():
        return {}
    model.new_item_logit.assign(0.0)  # Places are those of the logits without it.
    catalogue = _Catalogue(
        is_new, model.candidate_keys(neighbours), model.item_bias(neighbours)
    )
    places = _find_places(config, sequences, model, text_reader, queries, catalogue)
    if (places.rank < K).sum() < _MIN_HITS:
        return {}
    without = places.ndcg(-np.inf)
    per_ten = config.retrieval.new_items_per_ten
    least = (1.0 - budget) * without
    # Searches are not limited, so for them the budget holds anywhere in the list.
    anywhere = _highest_logit(places, least, per_ten=TEN, highest=0.0)
    limited = anywhere
    if per_ten < TEN:
        limited = _highest_logit(places, least, per_ten=per_ten, highest=_HIGHEST)
    model.new_item_logit.assign(anywhere)
    model.new_item_lift.assign(limited - anywhere)
    return {
        "logit": anywhere,
        "lift": limited - anywhere,
        "ndcg_without": without,
        "ndcg_with": places.ndcg(limited, per_ten=per_ten),
        "num_new": int(is_new.sum()),
    }


def _highest_logit(
    places: Places, least: float, *, per_ten: int, highest: float
) -> float:
    """Returns the highest logit of new items at which NDCG is not below `least`."""
    low, high = _LOWEST, highest
    if places.ndcg(high, per_ten=per_ten) >= least:
        return high
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2.0
        if places.ndcg(middle, per_ten=per_ten) >= least:
            low = middle
        else:
            high = middle
    return low


class _Catalogue(NamedTuple):
    """A catalogue, some items of which are taken for new ones.

    Attributes:
        is_new: bool `[num_items + 2]`; the first two are False.
        keys: float32 `[num_items, dim]`, see `RetrievalModel.candidate_keys`.
        bias: float32 `[num_items]`.
    """

    is_new: np.ndarray
    keys: tf.Tensor
    bias: tf.Tensor


def _choose_new(
    model: RetrievalModel, *, seed: int
) -> tuple[np.ndarray, TextNeighbours | None]:
    """Returns bool `[num_items + 2]`, and who stands near the items that are new."""
    is_new = ~model.is_known
    missing = int(LEAST_SHARE * model.num_items) - int(
        is_new[NUM_SPECIAL_INDICES:].sum()
    )
    if missing > 0:
        known = np.flatnonzero(model.is_known)
        rng = np.random.default_rng([seed, 7])
        is_new[rng.choice(known, min(missing, len(known)), replace=False)] = True
    neighbours = model.find_neighbours(is_new)
    if missing > 0:
        # Without a text nothing stands in for an id: those are known after all.
        is_new = ~model.is_known
        if neighbours is not None:
            is_new[neighbours.new] = True
    is_new[:NUM_SPECIAL_INDICES] = False
    return is_new, neighbours


def _known_targets(
    config: ExperimentConfig, sequences: EventSequences, is_new: np.ndarray
) -> EvaluationQueries:
    queries = build_queries(
        sequences,
        config.experiment_schema,
        split="validation",
        targets="next",
        max_queries=_MAX_QUERIES,
        seed=config.seed,
    )
    targets = queries.positive_items[queries.positive_offsets[:-1]]
    known = (targets >= NUM_SPECIAL_INDICES) & ~is_new[targets]
    return queries.take(np.flatnonzero(known))


def _find_places(
    config: ExperimentConfig,
    sequences: EventSequences,
    model: RetrievalModel,
    text_reader: TextReader | None,
    queries: EvaluationQueries,
    catalogue: _Catalogue,
) -> Places:
    is_new, keys, bias = catalogue
    new = tf.constant(is_new[NUM_SPECIAL_INDICES:])
    recommender = TrainedRecommender(
        model, None, num_candidates=1, text_reader=text_reader
    )
    scorer = RetrievalScorer(recommender)
    num_new = min(K, int(is_new.sum()))

    @tf.function(
        input_signature=[
            spec_of(recommender, queries.context, searches=False),
            tf.TensorSpec([None], tf.int32),
        ],
        autograph=False,
    )
    def find(request: Request, targets: tf.Tensor) -> tuple[tf.Tensor, ...]:
        encoded = recommender.encode(request)
        logits = model.logits(encoded, keys, bias)
        # As served: new items have no part in the transitions, and what they have of
        # the softmax moves no known item to speak of.
        known = tf.where(new, -np.inf, logits)
        scores = logits - tf.reduce_logsumexp(known, axis=1, keepdims=True)
        if encoded.transitions is not None:
            transitions = encoded.transitions.without(tf.constant(is_new))
            scores = transitions.mixed_with(scores)
        own = tf.gather(scores, targets - NUM_SPECIAL_INDICES, batch_dims=1)
        seen = met_items(request.item_index, num_items=model.num_items)
        # What was met already is not new, and not listed where met items are not.
        hidden = seen if config.evaluation.exclude_seen else seen & new
        scores = tf.where(hidden, -np.inf, scores)
        is_ahead = tf.logical_and(scores >= own[:, tf.newaxis], tf.logical_not(new))
        itself = tf.one_hot(targets - NUM_SPECIAL_INDICES, model.num_items, True, False)
        is_ahead &= ~itself
        ahead = tf.math.count_nonzero(is_ahead, axis=1)
        unmet = tf.math.count_nonzero(is_ahead & tf.logical_not(seen), axis=1)
        best = tf.math.top_k(tf.where(new, scores, -np.inf), num_new).values
        return ahead, unmet, own[:, tf.newaxis] - best

    targets = queries.positive_items[queries.positive_offsets[:-1]]
    parts = np.array_split(
        np.arange(queries.num_queries), -(-queries.num_queries // _BATCH_SIZE)
    )
    found: Sequence[tuple[tf.Tensor, ...]] = [
        find(
            scorer.requests(sequences, queries, part),
            tf.constant(targets[part], tf.int32),
        )
        for part in track(parts, "Make room for new items", transient=True)
    ]
    return Places(
        *(
            np.concatenate([batch.numpy() for batch in batches])
            for batches in zip(*found, strict=True)
        )
    )
