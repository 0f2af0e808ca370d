"""Orders the lists of a simulated test by models, and asks the truth what they earn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.click_truth import ClickTruth, take_lists
from tfrec.config import ExperimentConfig
from tfrec.data.store import TEST, VALIDATION, EventSequences, Impressions
from tfrec.models.ranking_model import RankingInputs
from tfrec.models.recommender import TrainedRecommender
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.training.mining import impression_lists
from tfrec.training.ranking_batches import batch_spec, make_batch
from tfrec.training.ranking_lists import RankingLists

NUM_PLACES = 10
_BATCH_SIZE = 256
SHOWN, RETRIEVED = "shown", "retrieved"
Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class KnownLists:
    """Lists of the test that the truth knows.

    Attributes:
        lists: Their requests, and what was shown.
        user_ids: object `[num_lists]`.
        truth: Of the shop.
        expected_interest: As `interest`, for all that the history tells; see
            `benchmarks.observer_clicks`.
        bids: float64 `[num_items + 2]`, paid for a click on an item.
        examined: float64 `[NUM_PLACES]`, chance that a place is looked at.
    """

    lists: RankingLists
    user_ids: np.ndarray
    truth: ClickTruth
    expected_interest: Callable[[np.ndarray], np.ndarray]
    bids: np.ndarray
    examined: np.ndarray

    def interest(self, items: np.ndarray) -> np.ndarray:
        """Returns the true chance of a click once seen, as `ClickTruth.interest`."""
        return self.truth.interest(self.user_ids, self.lists.request_timestamps, items)


def known_lists(impressions: Impressions, truth: ClickTruth) -> Impressions:
    """Leaves out lists that the truth does not know."""
    known = truth.known(impressions.user_ids, impressions.timestamps)
    return take_lists(impressions, np.flatnonzero(known))


def find_test_lists(
    config: ExperimentConfig,
    sequences: EventSequences,
    impressions: Impressions,
    recommender: TrainedRecommender,
) -> tuple[RankingLists, np.ndarray]:
    """Returns the lists of the test split with their requests, and their users."""
    test = take_lists(impressions, np.flatnonzero(impressions.split == TEST))
    # They are read exactly as the lists that models learn from.
    test = replace(test, split=np.full_like(test.split, VALIDATION))
    lists = impression_lists(config, sequences, test, recommender)
    return lists, sequences.user_ids[lists.user_rows]


def score_lists(
    recommender: TrainedRecommender, sequences: EventSequences, lists: RankingLists
) -> dict[str, Table]:
    """Scores what was shown, and what retrieval would put there.

    Returns:
        Per kind of candidates `items`, `click` (probability), `ads` (expected
        revenue) and `retrieval`, each `[num_lists, num_candidates]`.
    """
    k = min(recommender.num_candidates, recommender.num_items)

    def table(request: Any, items: tf.Tensor, scores: tf.Tensor, encoded: Any) -> Any:
        ranked = recommender.rank(request, items, scores, encoded=encoded)
        click = ranked.probabilities["click_probability"]
        return {
            "items": items,
            "click": click,
            "ads": ranked.scores,
            "retrieval": scores,
        }

    @tf.function(input_signature=[batch_spec(sequences, lists).inputs])
    def score(inputs: RankingInputs) -> Any:
        encoded = recommender.encode(inputs.request)
        top, column = tf.math.top_k(recommender.scores_of(encoded), k)
        found = column + NUM_SPECIAL_INDICES
        shown = inputs.candidate_index, inputs.retrieval_scores
        return {
            SHOWN: table(inputs.request, *shown, encoded),
            RETRIEVED: table(inputs.request, found, top, encoded),
        }

    parts = []
    for start in range(0, lists.num_lists, _BATCH_SIZE):
        rows = np.arange(start, min(start + _BATCH_SIZE, lists.num_lists))
        batch = make_batch(
            sequences,
            lists.take(rows),
            max_history_length=recommender.max_history_length,
        )
        parts.append(tf.nest.map_structure(np.asarray, score(batch.inputs)))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def measure_lists(
    test: KnownLists,
    tables: Mapping[str, Table],
    *,
    with_observer: bool = False,
) -> dict[str, np.ndarray]:
    """Asks the truth what the orders are worth, list by list.

    Args:
        test: The lists.
        tables: Of `score_lists`.
        with_observer: Whether the observer is measured, too.

    Returns:
        Per kind of candidates float64 `[num_lists]`: `<kind>_order`, NDCG@10 of the
        order by click probability, with true interest as gain; `<kind>_revenue` and
        `<kind>_best`, expected revenue of ten places in the order `ads`, and in that
        of the true probabilities times bids; `<kind>_clicks` and
        `<kind>_true_clicks`, predicted and true sum of the chances once seen. Of the
        observer, if measured, order, revenue and clicks as `<kind>_observer_...`.
    """
    found = {}
    for kind, table in tables.items():
        items = table["items"]
        interest = test.interest(items)
        real = items >= NUM_SPECIAL_INDICES
        value = interest * test.bids[items]
        found |= {
            f"{kind}_order": ndcg(interest, np.where(real, table["click"], -np.inf)),
            f"{kind}_retrieval_order": ndcg(
                interest, np.where(real, table["retrieval"], -np.inf)
            ),
            f"{kind}_revenue": revenue(
                value, np.where(real, table["ads"], -np.inf), test.examined
            ),
            f"{kind}_best": revenue(value, value, test.examined),
            f"{kind}_clicks": np.where(real, table["click"], 0.0).sum(1, np.float64),
            f"{kind}_true_clicks": interest.sum(1),
        }
        if with_observer:
            chance = test.expected_interest(items)
            believed = np.where(real, chance, -np.inf)
            worth = np.where(real, chance * test.bids[items], -np.inf)
            found |= {
                f"{kind}_observer_order": ndcg(interest, believed),
                f"{kind}_observer_revenue": revenue(value, worth, test.examined),
                f"{kind}_observer_clicks": chance.sum(1),
            }
    return found


def ndcg(gains: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns NDCG@10 with linear gains, float64 `[num_lists]`.

        DCG = sum over places p to 10 of gain(p) / log2(1 + p), over that of the best

    References:
        - Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
          TOIS 2002.
    """
    discount = 1.0 / np.log2(np.arange(NUM_PLACES) + 2.0)
    best = revenue(gains, gains, discount)
    reached = revenue(gains, scores, discount)
    return np.divide(reached, best, out=np.ones_like(best), where=best > 0.0)


def revenue(values: np.ndarray, scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns what the first places earn, float64 `[num_lists]`.

        revenue = sum over places p of places[p] · value of the item with rank p

    Args:
        values: float `[num_lists, num_candidates]`.
        scores: float, same shape; the greatest comes first.
        places: float `[num_places]`.
    """
    order = np.argsort(-scores, axis=1, kind="stable")[:, : len(places)]
    first = np.take_along_axis(values, order, axis=1)
    return first @ places[: first.shape[1]]
