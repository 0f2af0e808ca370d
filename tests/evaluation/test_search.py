import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.synthetic import make_sequences, write_prepared
from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.evaluation.search import evaluate_search
from tfrec.models.final_order import FinalOrder
from tfrec.order_config import FinalOrderConfig
from tfrec.ranking_config import RankingConfig

CONFIG = ExperimentConfig.model_validate(
    {
        "name": "toy",
        "data": {"events": {"paths": ["x"]}, "split": {"protocol": "leave_one_out"}},
        "evaluation": {"k": [1, 2], "num_bootstrap": 10},
    }
)
# The last event of a user is the test; two of them searched before it.
TEXTS = ["", "early", "item 2", "", "", "", "", "none", "item 5"]
HISTORIES = [[0, 1, 2], [2, 3, 4], [3, 4, 5]]
TEXT_READER, NO_RANKING = object(), None


class Pipeline:
    """Ranks the item of a number first: 5 by the order `search`, else 0."""

    def __init__(
        self,
        recommender: Any,
        *,
        exclude_seen: bool,
        searches: bool,
        final_order: FinalOrder | None = None,
    ) -> None:
        assert (exclude_seen, searches) == (False, True)
        self.name = "ranking"
        if final_order is not None:
            self.name += f", order {final_order.default}"
            assert final_order.formulas["search"].text.endswith("retrieval ** 0.25")

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        scores = np.zeros((len(rows), 8), np.float32)
        scores[:, 5 if self.name.endswith("search") else 0] = 1.0
        return scores


class Recorder:
    """Ranks the last item of the history first, and writes down what it is asked."""

    name = "retrieval"
    asked: list[tuple[list[int], list[str]]] = []

    def __init__(self, recommender: Any, *, searches: bool) -> None:
        assert searches

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        lengths = queries.history_lengths(sequences)[rows].tolist()
        assert queries.query_text is not None
        self.asked.append((lengths, queries.query_text[rows].tolist()))
        scores = np.zeros((len(rows), 8), np.float32)
        for place, row in enumerate(rows):
            if lengths[place]:
                newest = sequences.item_index[queries.history_ends[row] - 1]
                scores[place, newest - 2 + 1] = 1.0
        return scores


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("tfrec.evaluation.search.RetrievalScorer", Recorder)
    monkeypatch.setattr(Recorder, "asked", [])
    sequences = make_sequences(HISTORIES)
    sequences = dataclasses.replace(sequences, query_text=np.array(TEXTS, object))
    return sequences, write_prepared(tmp_path / "prepared", sequences)


def evaluated(
    sequences: EventSequences,
    dataset: PreparedDataset,
    text_reader: object,
    *,
    ranking: object = NO_RANKING,
    config: ExperimentConfig = CONFIG,
) -> Any:
    recommender: Any = SimpleNamespace(text_reader=text_reader, ranking=ranking)
    return evaluate_search(config, dataset, sequences, recommender, split="test")


def test_only_events_that_a_search_led_to_are_asked_for(log: Any) -> None:
    sequences, dataset = log
    result = evaluated(sequences, dataset, TEXT_READER)
    assert result["num_queries"] == result["num_positives"] == 2
    with_history, without = Recorder.asked
    assert with_history == ([2, 2], ["item 2", "item 5"])
    assert without == ([0, 0], ["item 2", "item 5"])


def test_history_and_words_are_measured_apart(log: Any) -> None:
    sequences, dataset = log
    result = evaluated(sequences, dataset, TEXT_READER)
    hits = {name: s["metrics"]["HR@1"] for name, s in result["scorers"].items()}
    # The next item is always one further; equal scores count against a scorer.
    assert hits["retrieval"] == 1.0
    assert hits["retrieval, without history"] == 0.0
    assert set(hits) == {"retrieval", "retrieval, without history", "bm25"}
    assert result["reference"] == "retrieval"


@pytest.mark.parametrize("default", ["recommend", "search"])
def test_the_order_of_searches_stands_beside_another_default(
    log: Any, monkeypatch: pytest.MonkeyPatch, default: str
) -> None:
    monkeypatch.setattr("tfrec.evaluation.search.PipelineScorer", Pipeline)
    ranking = RankingConfig(final_order=FinalOrderConfig(default=default))
    config = CONFIG.model_copy(update={"ranking": ranking})
    result = evaluated(*log, TEXT_READER, ranking=object(), config=config)
    hits = {name: s["metrics"]["HR@1"] for name, s in result["scorers"].items()}
    by_order = {"ranking, order search": 0.5} if default == "recommend" else {}
    # Items 2 and 5 are asked for.
    assert {n: h for n, h in hits.items() if n.startswith("ranking")} == {
        "ranking": 0.0,
        **by_order,
        "ranking, without history": 0.0,
    }
    assert {"retrieval", "retrieval, without history", "bm25"} < set(hits)
    assert result["reference"] == "ranking"


def test_without_searches_or_words_there_is_nothing_to_measure(log: Any) -> None:
    sequences, dataset = log
    assert evaluated(sequences, dataset, None) is None
    silent = np.array([""] * len(TEXTS), object)
    silent[7] = "before the test"
    sequences = dataclasses.replace(sequences, query_text=silent)
    assert evaluated(sequences, dataset, TEXT_READER) is None
