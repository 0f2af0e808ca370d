"""A refreshed model: the same for what stayed, right for what is new or gone."""

from pathlib import Path

import numpy as np
import pytest

from export.exporter import export_with_report
from export.loaded_model import LoadedModel
from export.refresh import refresh
from export.requests import batch_rows
from tests.export.small_shop import (
    NUM_ITEMS,
    Run,
    Served,
    history,
    item_row,
    shop_config,
    write_items,
    write_shop,
)
from tfrec.schema import ITEM_IDS, SCORES, SignatureName
from tfrec.training.run import load_recommender, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """With text and ranking."""
    config = shop_config(folder, has_text=True)
    train(config)
    return Run(config.run_path, *load_recommender(config.run_path))


@pytest.fixture(scope="module")
def run_without_text(folder: Path) -> Run:
    """With transitions: their part must not move when the catalogue grows."""
    config = shop_config(folder, has_text=False)
    retrieval = config.retrieval.model_copy(update={"transitions": True})
    config = config.model_copy(update={"retrieval": retrieval})
    train(config)
    return Run(config.run_path, *load_recommender(config.run_path))


SIGNATURES = (SignatureName.RETRIEVE, SignatureName.RECOMMEND)
NEW_LAMP = item_row(30, kind="lamp")
UNCHANGED_IDS = [f"i{n}" for n in range(NUM_ITEMS) if n not in (4, 6)]


@pytest.fixture(scope="module")
def before(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(run, tmp_path_factory.mktemp("before") / "assets")


@pytest.fixture(scope="module")
def after(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A lamp and a mug came, i4 has another title, kind and price, i6 is gone."""
    rows = [
        NEW_LAMP,
        item_row(32, kind="mug"),
        {**item_row(4, kind="mug"), "price": 99},
    ]
    assets = tmp_path_factory.mktemp("after") / "assets"
    return Served(run, assets, rows, removed=["i6"])


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("numbers", [(), (0, 3, 9), (1,), (6, 2)])
def test_unchanged_items_keep_their_scores(signature, numbers, before, after):
    one = before.ranked(signature, **history(*numbers))
    two = after.ranked(signature, **history(*numbers))
    # Not bit by bit: a matrix product over more columns may sum in another order.
    for item in UNCHANGED_IDS:
        assert two[item] == pytest.approx(one[item], abs=2e-5), item
    order = [i for i in one if i in UNCHANGED_IDS]
    assert [i for i in two if i in UNCHANGED_IDS] == order


def test_unchanged_items_keep_their_vectors_bit_by_bit(run, before, after):
    kept = ~after.differs[:NUM_ITEMS]
    assert kept.sum() == NUM_ITEMS - 1  # i6 is gone, but what it is did not change.
    one = before.recommender.candidate_embeddings().numpy()
    two = after.recommender.candidate_embeddings().numpy()
    np.testing.assert_array_equal(two[:NUM_ITEMS][kept], one[kept])
    assert not np.allclose(two[:NUM_ITEMS][~kept], one[~kept])
    items = [r.ranking.items.numpy() for r in (before.recommender, after.recommender)]
    np.testing.assert_array_equal(items[1][2 : NUM_ITEMS + 2][kept], items[0][2:][kept])


def test_new_items_look_to_ranking_like_items_that_nobody_met(before, after):
    trained, later = before.recommender.ranking, after.recommender.ranking
    assert later.demand.shape[0] == trained.demand.shape[0] + 2
    demand = later.demand.numpy()
    # No sales are below the average, which is 0.
    assert (demand[-2:, 0] < 0.0).all()
    np.testing.assert_array_equal(demand[-2:], trained.demand.numpy()[[1, 1]])
    assert not later.near.strength.numpy()[-2:].any()
    strength = later.near.strength.numpy()[:-2]
    np.testing.assert_array_equal(strength, trained.near.strength.numpy())


def test_unchanged_items_keep_their_probabilities(before, after):
    candidates = {"candidate_item_ids": UNCHANGED_IDS, **history(0, 3, 9)}
    one = before.call(SignatureName.RANK, **candidates)
    two = after.call(SignatureName.RANK, **candidates)
    assert set(one) == set(two)
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=2e-5, err_msg=name)


def test_new_item_is_offered_to_a_history_of_its_kind(after):
    lamps = after.ranked(SignatureName.RETRIEVE, **history(0, 3, 9))
    mugs = after.ranked(SignatureName.RETRIEVE, **history(2, 5, 8))
    assert list(lamps).index("i30") < list(lamps).index("i32")
    assert list(mugs).index("i32") < list(mugs).index("i30")
    # At the first place that new items may have.
    known = [i for i in lamps if int(i[1:]) < NUM_ITEMS]
    ahead = [
        i for i in known if lamps[i] > lamps["i30"] and i not in {"i0", "i3", "i9"}
    ]
    assert len(ahead) == 7  # Of eight: one was removed, and is not listed.


def test_text_of_a_new_item_finds_it_first(after):
    titles = {
        NEW_LAMP["item_id"]: NEW_LAMP["title"],
        "i32": item_row(32, kind="mug")["title"],
    }
    embeddings = after.recommender.candidate_embeddings().numpy()
    ids = after.dataset.item_vocabulary.tokens
    for item, title in titles.items():
        vector = after.call(SignatureName.EMBED_TEXT, text=title)["embedding"]
        unseen = [ids.index(i) for i in titles]
        scores = embeddings[unseen] @ vector
        assert list(titles)[int(scores.argmax())] == item


def test_new_item_in_a_history_is_read_by_what_it_is(before, after):
    def lead_of_lamps(served: Served, item: str) -> float:
        """How much higher lamps score than mugs after three events of one item."""
        row = {**history(0, 0, 0), "history_item_ids": [item] * 3}
        found = served.ranked(SignatureName.RETRIEVE, **row)
        lamps, mugs = (
            np.mean([found[f"i{n}"] for n in range(first, NUM_ITEMS, 3) if n != 6])
            for first in (0, 2)
        )
        return float(lamps - mugs)

    assert lead_of_lamps(after, "i30") > lead_of_lamps(after, "i32") + 0.1
    # The model that does not know them cannot tell one from the other.
    assert lead_of_lamps(before, "i30") == lead_of_lamps(before, "i32")


@pytest.mark.parametrize("signature", SIGNATURES)
def test_removed_item_is_never_answered_but_still_a_history(signature, before, after):
    assert "i6" in before.ranked(signature, **history(0, 3))
    assert "i6" not in after.ranked(signature, **history(0, 3))
    assert "i6" not in after.ranked(signature, filter_kind=["lamp"], **history(0))
    query = [
        s.call(SignatureName.EMBED_QUERY, **history(6, 9))["embedding"]
        for s in (before, after)
    ]
    np.testing.assert_allclose(query[1], query[0], atol=1e-6)


def test_removed_item_is_no_candidate_and_nobodys_neighbour(after):
    found = after.call(
        SignatureName.RANK, candidate_item_ids=["i6", "i9"], **history(0)
    )
    assert found[SCORES][0] == -np.inf
    assert found[SCORES][1] > -np.inf
    assert "i6" not in after.ranked(SignatureName.SIMILAR_ITEMS, item_ids="i3")
    assert "i3" in after.ranked(SignatureName.SIMILAR_ITEMS, item_ids="i6")


def test_changed_item_is_another_in_text_and_kind(before, after):
    # i4 was a sofa and is a mug; what training learned of its id remains.
    mugs = [
        s.ranked(SignatureName.RETRIEVE, **history(2, 5, 8)) for s in (before, after)
    ]
    assert mugs[1]["i4"] > mugs[0]["i4"]


def test_filters_know_new_and_changed_items(before, after):
    mugs = {f"i{n}" for n in range(2, NUM_ITEMS, 3)}
    ask = {"filter_kind": ["mug"], **history(0)}
    assert set(before.ranked(SignatureName.RETRIEVE, **ask)) == mugs
    assert set(after.ranked(SignatureName.RETRIEVE, **ask)) == mugs | {"i4", "i32"}


def test_new_values_are_filtered_by_though_training_never_saw_them(run, tmp_path):
    served = Served(run, tmp_path / "assets", [item_row(33, kind="vase")])
    found = served.ranked(SignatureName.RETRIEVE, filter_kind=["vase"], **history(0))
    assert set(found) == {"i33"}


def test_item_back_as_it_was_is_answered_as_ever(run, before, tmp_path):
    served = Served(run, tmp_path / "assets", [item_row(4)])
    assert not served.differs.any()
    one = before.ranked(SignatureName.RECOMMEND, **history(0, 3))
    two = served.ranked(SignatureName.RECOMMEND, **history(0, 3))
    assert list(one) == list(two)
    np.testing.assert_allclose(list(two.values()), list(one.values()), atol=1e-6)


def test_model_without_text_knows_new_items_by_their_attributes(
    run_without_text, tmp_path
):
    run = run_without_text
    assert run.recommender.text_reader is None
    rows = [NEW_LAMP, item_row(32, kind="mug")]
    before = Served(run, tmp_path / "before")
    after = Served(run, tmp_path / "after", rows, removed=["i6"])
    lamps = after.ranked(SignatureName.RETRIEVE, **history(0, 3, 9))
    assert lamps["i30"] > lamps["i32"]
    assert "i6" not in lamps
    one = before.ranked(SignatureName.RETRIEVE, **history(0, 3, 9))
    for item in set(one) - {"i6"}:
        assert lamps[item] == pytest.approx(one[item], abs=2e-5)


def test_retraining_a_refreshed_recommender_is_refused(after):
    with pytest.raises(ValueError, match="not trained on"):
        after.recommender.refresh()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("title,kind,price\nx,lamp,1\n", {}, "item_id"),
        ("", {}, "empty"),
        ("item_id,title,kind,price\n,x,lamp,1\n", {}, "no item id"),
        (None, {}, "needs `--items`"),
        (None, {"complete": True}, "Received --complete"),
    ],
)
def test_change_that_cannot_be_used_leaves_no_version(
    text, options, message, run, tmp_path
):
    items = None
    if text is not None:
        items = tmp_path / "new.csv"
        items.write_text(text)
    with pytest.raises(ValueError, match=message):
        refresh(run.path, items=items, model_dir=tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_missing_run_or_file_is_named(run, tmp_path):
    items = write_items(tmp_path / "new.csv", [NEW_LAMP])
    with pytest.raises(FileNotFoundError, match="No run in"):
        refresh(tmp_path / "nowhere", items=items)
    with pytest.raises(FileNotFoundError, match=r"no file '.*absent\.csv'"):
        refresh(run.path, items=tmp_path / "absent.csv")


@pytest.mark.slow
def test_refreshes_build_on_one_another_up_to_the_served_files(run, tmp_path):
    models = tmp_path / "models"
    export_with_report(run.recommender, run.dataset, run.config, model_dir=models)
    one = write_items(tmp_path / "one.csv", [NEW_LAMP])
    gone = tmp_path / "gone.txt"
    gone.write_text("i6\n")
    first = refresh(run.path, items=one, removed=gone, model_dir=models)
    assert first.base is None
    assert first.export is not None
    mug = {**item_row(32, kind="mug"), "price": ""}
    two = write_items(tmp_path / "two.csv", [mug])
    warnings: list[str] = []
    second = refresh(run.path, items=two, model_dir=models, warn=warnings.append)
    (warning,) = warnings
    assert "'price', which has no usable one in 1 rows" in warning
    assert (second.base, second.change.num_added, second.change.num_removed) == (
        2,
        1,
        0,
    )
    assert second.export is not None
    assert second.export.path == models / "toy" / "3"
    again = refresh(run.path, items=two, model_dir=models)
    assert (again.base, again.export) == (3, None)
    assert sorted(p.name for p in (models / "toy").iterdir()) == ["1", "2", "3"]
    answers = []
    for version in (1, 2, 3):
        row = {"k": 100, **history(0, 3, 9)}
        schema = run.config.experiment_schema
        request = batch_rows(schema, SignatureName.RETRIEVE, [row])
        with LoadedModel(models / "toy" / str(version)) as model:
            found = model.call(SignatureName.RETRIEVE.value, request.inputs)
        ids = [item.decode() for item in found[ITEM_IDS][0]]
        scores = found[SCORES][0].tolist()
        answers.append({i: s for i, s in zip(ids, scores, strict=True) if i})
    trained = {f"i{n}" for n in range(NUM_ITEMS)}
    assert set(answers[0]) == trained
    assert set(answers[1]) == (trained - {"i6"}) | {"i30"}
    assert set(answers[2]) == (trained - {"i6"}) | {"i30", "i32"}
    for item in trained - {"i6"}:
        assert answers[2][item] == pytest.approx(answers[0][item], abs=2e-5)
    assert answers[2]["i30"] == pytest.approx(answers[1]["i30"], abs=2e-5)
