"""Known figures of a public set, as the protocol of the papers gives them."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.markov import Markov
from tfrec.evaluation.baselines.popularity import Popularity
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema

PATH = Path(__file__).parents[2] / "../shared/data/ml-1m/ml-1m.txt.gz"

pytestmark = pytest.mark.skipif(
    not PATH.is_file(), reason="../shared/data/ml-1m is not there"
)


@pytest.fixture(scope="module")
def sequences() -> EventSequences:
    with gzip.open(PATH) as file:
        users, items = np.loadtxt(file, np.int64).T
    starts = np.flatnonzero(np.diff(users)) + 1
    _, rows = np.unique(items, return_inverse=True)
    return make_sequences(np.split(rows, starts))


def test_simple_baselines_reach_the_published_figures(
    sequences: EventSequences, single_type: Schema
) -> None:
    num_items = 3_416
    items = pa.table({"item_id": [str(i) for i in range(num_items)]})
    queries = build_queries(sequences, single_type, split="test", targets="next")
    assert queries.num_queries == 6_040
    found = evaluate(
        [
            baseline.fit(sequences, items, single_type, split="test")
            for baseline in (Popularity(), Markov())
        ],
        sequences,
        queries,
        train_counts=np.ones(num_items),
        ks=(10,),
        exclude_seen=True,
        num_bootstrap=10,
        progress=False,
    )
    # Measured independently: Pop .037 / .018, first-order Markov .214 / .126.
    assert found.mean("pop", "HR@10") == pytest.approx(0.037, abs=0.002)
    assert found.mean("pop", "NDCG@10") == pytest.approx(0.018, abs=0.001)
    assert found.mean("markov", "HR@10") == pytest.approx(0.214, abs=0.004)
    assert found.mean("markov", "NDCG@10") == pytest.approx(0.126, abs=0.003)
