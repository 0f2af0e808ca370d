import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.data.simulator.shops import Shop
from tfrec.data.simulator import Oracle, simulate
from tfrec.data.store import EventSequences


@dataclass(frozen=True)
class Queries:
    user_rows: np.ndarray
    request_timestamps: np.ndarray


def make_sequences(user_ids: list[str]) -> EventSequences:
    empty = np.zeros(0, np.int64)
    return EventSequences(
        np.array(user_ids, object), np.zeros(len(user_ids) + 1, np.int64),
        empty, empty, empty, empty, empty, empty, empty, {},
    )  # fmt: skip


def all_view_queries(shop: Shop) -> tuple[EventSequences, Queries, np.ndarray]:
    """Returns every organic view as a query, and the item that was viewed."""
    views = shop.rows("view")
    users, rows = np.unique(shop.events["user_id"][views], return_inverse=True)
    ids = shop.items["item_id"].to_pylist()
    place = {item: n for n, item in enumerate(ids)}
    items = np.array([place[i] for i in shop.events["item_id"][views]])
    queries = Queries(rows, shop.events["timestamp"][views])
    return make_sequences(users.tolist()), queries, items


@pytest.fixture(scope="module")
def oracle(tiny_shop: Shop) -> Oracle:
    ids = tiny_shop.items["item_id"].to_pylist()
    return Oracle(tiny_shop.summary.truth_path, item_ids=ids)


def test_the_log_looks_as_if_drawn_from_the_scores(
    tiny_shop: Shop, oracle: Oracle
) -> None:
    """Sum of log p(viewed) lies where independent draws from p would put it."""
    sequences, queries, items = all_view_queries(tiny_shop)
    scores = oracle.score(sequences, queries, np.arange(len(items)))
    assert scores.dtype == np.float32
    assert scores.shape == (len(items), len(tiny_shop.items))
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)
    probabilities = scores.astype(np.float64)
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    mean = (probabilities * logs).sum(axis=1)
    variance = (probabilities * logs**2).sum(axis=1) - mean**2
    viewed = probabilities[np.arange(len(items)), items]
    assert (viewed > 0).all()
    surprise = (np.log(viewed) - mean).sum() / np.sqrt(variance.sum())
    assert abs(surprise) < 4
    # And per item: as many views as the probabilities add up to.
    counts = np.bincount(items, minlength=len(tiny_shop.items))
    expected = probabilities.sum(axis=0)
    spread = np.sqrt((probabilities * (1 - probabilities)).sum(axis=0))
    common = expected >= 5
    assert common.sum() > 100
    assert np.abs((counts - expected)[common] / spread[common]).max() < 5


def test_columns_follow_the_given_item_order_and_rows_the_given_queries(
    tiny_shop: Shop, oracle: Oracle
) -> None:
    sequences, queries, _ = all_view_queries(tiny_shop)
    ids = tiny_shop.items["item_id"].to_pylist()
    some = [17, 3, 99]
    other = Oracle(tiny_shop.summary.truth_path, item_ids=[ids[i] for i in some])
    rows = np.array([700, 5])
    expected = oracle.score(sequences, queries, np.arange(701))[rows][:, some]
    np.testing.assert_array_equal(other.score(sequences, queries, rows), expected)


def test_a_query_without_truth_is_an_error_that_names_it(
    tiny_shop: Shop, oracle: Oracle
) -> None:
    time = int(tiny_shop.events["timestamp"][tiny_shop.rows("view")[0]])
    user = str(tiny_shop.events["user_id"][tiny_shop.rows("view")[0]])
    sequences = make_sequences([user, "stranger"])
    for row, seconds in ((1, time), (0, time + 1)):
        queries = Queries(np.array([0, row]), np.array([time, seconds]))
        name = sequences.user_ids[row]
        match = f"1 of 2 queries.*user_id='{name}', request_timestamp={seconds}"
        with pytest.raises(ValueError, match=match):
            oracle.score(sequences, queries, np.arange(2))


def test_items_of_another_shop_and_a_missing_truth_are_errors(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    truth = tiny_shop.summary.truth_path
    with pytest.raises(ValueError, match=r"1 others, such as \['q1'\]"):
        Oracle(truth, item_ids=["q1"])
    with pytest.raises(FileNotFoundError, match=r"states\.parquet is missing"):
        Oracle(tmp_path, item_ids=[])
    shutil.copytree(truth, tmp_path / "moved")  # The folder stands for itself.
    Oracle(tmp_path / "moved", item_ids=[])


def test_truth_of_the_last_share_of_the_time_covers_exactly_that(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    config = tiny_shop.config.model_copy(update={"truth_share": 0.25})
    summary = simulate(config, tmp_path / "s")
    views = tiny_shop.events["timestamp"][tiny_shop.rows("view")]
    start = config.end_seconds - 0.25 * config.num_days * 86_400
    assert summary.num_truth_states == (views >= start).sum() > 0
    assert summary.num_truth_states < len(views)
