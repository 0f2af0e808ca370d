from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.synthetic import cycle, noise, write_prepared
from tfrec.config import BaselineName
from tfrec.data.store import PreparedDataset
from tfrec.evaluation.baselines.registry import BASELINES, build_baselines
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema

ALL = ("pop", "recent_pop", "repeat", "item_knn", "markov", "tfidf")


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    return write_prepared(tmp_path / "prepared", cycle())


def test_all_baselines_of_the_configuration_exist() -> None:
    assert set(BASELINES) == set(ALL) == set(get_args(BaselineName))


def test_baselines_keep_the_order_and_score_after_fit(dataset: PreparedDataset) -> None:
    chosen = ("markov", "pop", "tfidf", "item_knn", "repeat", "recent_pop")
    sequences, schema = dataset.load_sequences(), dataset.schema
    queries = build_queries(sequences, schema, split="test", targets="next")
    scorers = build_baselines(chosen, dataset, schema).fit(
        sequences, split="test", progress=False
    )
    assert tuple(scorer.name for scorer in scorers) == chosen
    for scorer in scorers:
        scores = scorer.score(sequences, queries, np.arange(3))
        assert scores.shape == (3, 8)
        assert scores.dtype == np.float32
        # A batch scores like its queries alone.
        alone = scorer.score(sequences, queries, np.array([2]))
        np.testing.assert_allclose(alone[0], scores[2], rtol=1e-6)


def test_baselines_learn_nothing_from_the_evaluated_split(
    dataset: PreparedDataset,
) -> None:
    sequences, schema = dataset.load_sequences(), dataset.schema
    queries = build_queries(sequences, schema, split="test", targets="next")
    items = sequences.item_index.copy()
    items[sequences.split == 2] = 2 + 5
    changed = replace(sequences, item_index=items)
    for first, second in zip(
        build_baselines(ALL, dataset, schema).fit(
            sequences, split="test", progress=False
        ),
        build_baselines(ALL, dataset, schema).fit(
            changed, split="test", progress=False
        ),
        strict=True,
    ):
        rows = np.arange(queries.num_queries)
        np.testing.assert_array_equal(
            first.score(sequences, queries, rows),
            second.score(sequences, queries, rows),
        )


def test_baselines_without_data_are_skipped_with_the_reason(tmp_path: Path) -> None:
    schema = Schema(("event",), ("event",), has_timestamps=False)
    dataset = write_prepared(tmp_path / "prepared", noise(), schema=schema)
    path = dataset.path / "items.parquet"
    items = pq.read_table(path).drop_columns(["title"])
    pq.write_table(items, path)
    found = build_baselines(ALL, PreparedDataset(dataset.path), schema)
    assert [s.name for s in found.scorers] == ["pop", "repeat", "item_knn", "markov"]
    assert found.skipped == {
        "recent_pop": "the log has no timestamps",
        "tfidf": "the catalogue has neither titles nor categorical attributes",
    }


def test_unknown_baseline_is_refused(dataset: PreparedDataset) -> None:
    with pytest.raises(ValueError, match=r"among \['pop'.*Received: \['poop'\]"):
        build_baselines(["pop", "poop"], dataset, dataset.schema)
