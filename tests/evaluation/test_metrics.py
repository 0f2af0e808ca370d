import json
import os
import subprocess
import sys
from math import log2

import numpy as np
import pytest

from tfrec.evaluation.metrics import (
    hit_rate,
    metric_names,
    mrr,
    ndcg,
    parse_metric,
    query_metrics,
    recall,
)

# Query 0 has positives at 1 and 4, query 1 at 3, query 2 none, query 3 at 11.
RANKS = np.array([4, 1, 3, 11])
QUERIES = np.array([0, 0, 1, 3])


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (hit_rate, 3, [1, 1, np.nan, 0]),
        (recall, 3, [1 / 2, 1, np.nan, 0]),
        (recall, 4, [1, 1, np.nan, 0]),
        (mrr, 3, [1, 1 / 3, np.nan, 0]),
        (mrr, 2, [1, 0, np.nan, 0]),
        # Ideal of query 0 at k=1 is one place, at k=4 two places.
        (ndcg, 1, [1, 0, np.nan, 0]),
        (
            ndcg,
            4,
            [(1 + 1 / log2(5)) / (1 + 1 / log2(3)), 1 / log2(4), np.nan, 0],
        ),
    ],
)
def test_metrics_of_known_ranks(metric: object, k: int, expected: list[float]) -> None:
    found = metric(RANKS, QUERIES, k=k, num_queries=4)  # type: ignore[operator]
    np.testing.assert_allclose(found, expected)


def test_columns_follow_the_names() -> None:
    values = query_metrics(RANKS, QUERIES, ks=(1, 4), num_queries=4)
    names = metric_names((1, 4))
    assert names == (
        "HR@1",
        "HR@4",
        "Recall@1",
        "Recall@4",
        "NDCG@1",
        "NDCG@4",
        "MRR@1",
        "MRR@4",
    )
    first_query = dict(zip(names, values[0], strict=True))
    assert first_query["Recall@1"] == 0.5
    assert first_query["Recall@4"] == 1.0


RANX = """
import json, sys, ranx
relevant, run, metrics = json.load(sys.stdin)
found = ranx.evaluate(
    ranx.Qrels(relevant), ranx.Run(run), metrics, return_mean=False
)
print(json.dumps({name: list(values) for name, values in found.items()}))
"""


def ask_ranx(*question: object) -> dict[str, list[float]]:
    # Compiling ranx takes a minute, interpreting these few lists no time. In a process
    # of its own: numba reads this variable once, and bm25s imports numba, too.
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps(question),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_metrics_equal_ranx_on_scores_without_ties() -> None:
    pytest.importorskip("ranx")
    random = np.random.default_rng(0)
    num_queries, num_items = 30, 40
    scores = np.argsort(random.random((num_queries, num_items)), axis=1)
    relevant, run, ranks, query_of_positive = {}, {}, [], []
    # ranx orders queries by name: hence two digits.
    for q in range(num_queries):
        positives = random.permutation(num_items)[: random.integers(1, 8)]
        relevant[f"q{q:02}"] = {f"i{p}": 1 for p in positives}
        run[f"q{q:02}"] = {f"i{i}": float(s) for i, s in enumerate(scores[q])}
        ranks += [int((scores[q] >= scores[q, p]).sum()) for p in positives]
        query_of_positive += [q] * len(positives)
    ks = (1, 5, 10)
    names = [f"{m}@{k}" for k in ks for m in ("hit_rate", "recall", "ndcg", "mrr")]
    expected = ask_ranx(relevant, run, names)
    for k in ks:
        found = query_metrics(
            np.array(ranks),
            np.array(query_of_positive),
            ks=(k,),
            num_queries=num_queries,
        )
        of_k = [expected[f"{m}@{k}"] for m in ("hit_rate", "recall", "ndcg", "mrr")]
        np.testing.assert_allclose(found.T, of_k)


def test_metric_names_are_parsed() -> None:
    assert parse_metric("Recall@20") == ("Recall", 20)


@pytest.mark.parametrize("metric", ["NDCG", "ndcg@10", "NDCG@0", "NDCG@ten", "MAP@10"])
def test_unknown_metrics_are_refused(metric: str) -> None:
    with pytest.raises(ValueError, match=f"such as 'NDCG@10'.*metric='{metric}'"):
        parse_metric(metric)
