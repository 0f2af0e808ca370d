"""The observer of a simulated shop predicts as well as its probabilities say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import observer
from benchmarks.click_measure import known_lists
from benchmarks.click_truth import ClickTruth
from benchmarks.observer_filter import PURCHASE, VIEW, Observer
from benchmarks.observer_scorer import ObserverScorer, item_columns
from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.prepare import prepare
from tfrec.data.simulator import Oracle, simulate, sized_config
from tfrec.data.simulator.config import SECONDS_PER_DAY
from tfrec.data.simulator.truth import load_config, load_demand
from tfrec.data.store import EventSequences, Impressions, PreparedDataset
from tfrec.evaluation.protocols import EvaluationQueries, build_queries


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    path = tmp_path_factory.mktemp("observer")
    settings = sized_config("tiny", seed=5, num_users=400)
    summary = simulate(settings, path / "shop")
    config = read_config(summary.config_path)
    evaluation = config.evaluation.model_copy(update={"oracle_dir": summary.truth_path})
    return config.model_copy(update={"run_dir": path / "run", "evaluation": evaluation})


@pytest.fixture(scope="module")
def dataset(shop: ExperimentConfig) -> PreparedDataset:
    return prepare(shop)


def truth_of(shop: ExperimentConfig) -> Path:
    assert shop.evaluation.oracle_dir is not None
    return shop.evaluation.oracle_dir


def asked(shop: ExperimentConfig, dataset: PreparedDataset) -> EvaluationQueries:
    return build_queries(
        dataset.load_sequences(),
        shop.experiment_schema,
        split="test",
        targets=shop.evaluation.targets,
    )


def test_views_look_as_if_drawn_from_its_probabilities(shop, dataset):
    """Sum of log p(viewed) lies where draws from p would put it, near the oracle's."""
    sequences, queries = dataset.load_sequences(), asked(shop, dataset)
    rows = np.arange(queries.num_queries)
    scorer = ObserverScorer(truth_of(shop), dataset)
    scores = scorer.score(sequences, queries, rows)
    assert scores.dtype == np.float32
    p = scores.astype(np.float64)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-5)
    logs = np.log(np.where(p > 0, p, 1.0))
    mean = (p * logs).sum(axis=1)
    variance = (p * logs**2).sum(axis=1) - mean**2
    column = queries.positive_items - 2
    viewed = np.log(p[rows, column])
    assert abs((viewed - mean).sum() / np.sqrt(variance.sum())) < 3
    oracle = Oracle(truth_of(shop), item_ids=dataset.item_vocabulary.tokens)
    known = np.log(oracle.score(sequences, queries, rows)[rows, column])
    stranger = np.log(1.0 / p.shape[1])
    assert known.mean() > viewed.mean() > known.mean() - 0.5
    assert viewed.mean() > stranger + 1.0


def test_a_consumable_is_expected_once_it_is_used_up_and_only_as_a_visit_begins(shop):
    demand, config = load_demand(truth_of(shop)), load_config(truth_of(shop))
    leaf = int(np.flatnonzero(demand.is_consumable)[0])
    item = int(demand.leaf_offsets[leaf])
    bought = config.start_seconds + SECONDS_PER_DAY
    history = (np.array([item, item]), [VIEW, PURCHASE], np.array([bought, bought + 9]))
    searched = np.array([False, False])
    watcher = Observer(demand, config)

    def chance(days: float) -> float:
        now = bought + 9 + int(days * SECONDS_PER_DAY)
        return float(watcher.predict(*history, searched, now=now)[item])

    assert chance(9.9) < 0.1
    assert chance(17.5) == pytest.approx(config.restock_probability / 2, abs=0.05)
    assert chance(26) == pytest.approx(config.restock_probability, abs=0.05)
    # A view later it was looked up, and is not bought again.
    items, kinds, times = history
    later = bought + 26 * SECONDS_PER_DAY
    seen = watcher.predict(
        np.append(items, item),
        [*kinds, VIEW],
        np.append(times, later),
        np.array([False, False, False]),
        now=later + 40 * SECONDS_PER_DAY,
    )
    assert seen[item] < 0.2


def test_expected_clicks_are_as_many_as_the_truth_says_and_in_its_order(shop, dataset):
    impressions = dataset.load_impressions()
    assert impressions is not None
    truth = ClickTruth(truth_of(shop), item_ids=dataset.item_vocabulary.tokens)
    sequences = dataset.load_sequences()
    found = impression_lists_of(sequences, known_lists(impressions, truth))
    rows, ends, users, times, items = (values[:400] for values in found)
    scorer = ObserverScorer(truth_of(shop), dataset)
    expected = scorer.expected_interest(sequences, rows, ends, items)
    interest = truth.interest(users, times, items)
    real = items > 0
    assert (expected[~real] == 0.0).all()
    assert expected[real].mean() == pytest.approx(interest[real].mean(), rel=0.05)
    # Of what it takes for likely, more than of the rest happens, by as much as it says.
    likely = real & (expected > np.median(expected[real]))
    assert expected[likely].mean() == pytest.approx(interest[likely].mean(), rel=0.05)
    assert interest[likely].mean() > 3 * interest[real & ~likely].mean()


def impression_lists_of(
    sequences: EventSequences, lists: Impressions
) -> tuple[np.ndarray, ...]:
    """Returns user rows, ends of histories, users, times, items `[num_lists, 12]`."""
    row_of = {user: row for row, user in enumerate(sequences.user_ids)}
    rows = np.array([row_of[user] for user in lists.user_ids])
    ends = [
        start + np.searchsorted(sequences.timestamps[start:stop], time)
        for start, stop, time in zip(
            sequences.offsets[rows],
            sequences.offsets[rows + 1],
            lists.timestamps,
            strict=True,
        )
    ]
    items = np.zeros((len(rows), 12), np.int32)
    for row, shown in enumerate(np.split(lists.item_index, lists.offsets[1:-1])):
        items[row, : len(shown)] = shown[:12]
    return rows, np.array(ends), lists.user_ids, lists.timestamps, items


def test_every_target_is_of_one_kind(shop, dataset):
    sequences, queries = dataset.load_sequences(), asked(shop, dataset)
    truth = truth_of(shop)
    oracle = Oracle(truth, item_ids=dataset.item_vocabulary.tokens)
    columns = item_columns(truth, dataset)
    kinds = observer.target_kinds(
        load_demand(truth), oracle, sequences, queries, columns
    )
    assert set(kinds) <= set(observer.KINDS)
    states = oracle.states_of(sequences, queries, np.arange(queries.num_queries))
    target = columns[queries.positive_items - 2]
    np.testing.assert_array_equal(kinds == "due", states.due_item == target)


def test_a_run_that_is_not_there_is_named(tmp_path, capsys):
    argv = ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "page.json")]
    assert observer.main(argv) == 1
    assert "No run in" in capsys.readouterr().err


def test_the_page_shows_all_scorers_and_kinds():
    figures = {"HR@10": 0.5, "NDCG@10": 0.2}
    result = {
        "config": "demo",
        "command": "python -m benchmarks.observer",
        "num_queries": 2046,
        "scorers": {"observer": figures, "oracle": {**figures, "NDCG@10": 0.4}},
        "kinds": {
            kind: {"queries": 3, "observer": 0.25, "oracle": None}
            for kind in observer.KINDS
        },
        "versions": {
            "num_cpus": 2, "platform": "p", "python": "3.11", "tensorflow": "2.21.0"
        },
    }  # fmt: skip
    page = observer._page(result)
    assert "| observer | 0.5000 | 0.2000 | 50.0% |" in page
    assert "| met before | 3 | 0.250 | – |" in page
