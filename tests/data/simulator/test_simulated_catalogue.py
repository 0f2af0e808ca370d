import numpy as np
import pytest
from scipy import stats

from tfrec.data.simulator import sized_config
from tfrec.data.simulator.catalogue import build_catalogue
from tfrec.data.simulator.config import MAX_CATEGORIES
from tfrec.data.simulator.names import brand_names, choose_leaves


def test_item_ids_say_nothing_about_an_item() -> None:
    catalogue = build_catalogue(sized_config("demo"))
    number = [int(item_id[1:]) for item_id in catalogue.item_ids]
    for values in (catalogue.leaf, catalogue.launch, catalogue.popularity):
        ranks = stats.rankdata(number), stats.rankdata(values)
        correlation = np.corrcoef(*ranks)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(catalogue.num_items)


@pytest.mark.parametrize(("language", "colour"), [("en", "black"), ("zh", "黑色")])
def test_titles_name_brand_colour_and_kind(language: str, colour: str) -> None:
    catalogue = build_catalogue(sized_config("tiny", language=language))
    for item, title in enumerate(catalogue.titles):
        assert catalogue.brands[catalogue.brand[item]] in title
        assert catalogue.leaves[catalogue.leaf[item]].noun in title
    of_colour = [colour in title for title in catalogue.titles]
    first_colour = (catalogue.colour == 0).tolist()  # Black is the first.
    assert of_colour == first_colour


def test_every_category_sells_two_items_from_the_first_day_on() -> None:
    config = sized_config("tiny", launch_share=0.95)
    catalogue = build_catalogue(config)
    for leaf in range(config.num_categories):
        launch = catalogue.launch[catalogue.leaf == leaf]
        assert (launch == config.start_seconds).sum() >= 2
        assert (np.diff(launch) >= 0).all()
    late = (catalogue.launch > config.start_seconds).mean()
    assert 0.6 < late < 0.95  # .95 of the 104 items beyond the two of each leaf.
    assert catalogue.launch.max() < config.end_seconds


def test_the_table_is_a_plain_catalogue_with_unique_ids() -> None:
    catalogue = build_catalogue(sized_config("tiny"))
    table = catalogue.to_table()
    names = ["item_id", "title", "category", "brand", "price", "description"]
    assert table.column_names == names
    ids = table["item_id"].to_pylist()
    assert ids == sorted(set(ids))
    row = ids.index(catalogue.item_ids[5])
    assert table["title"][row].as_py() == catalogue.titles[5]
    assert table["price"][row].as_py() == catalogue.price[5]
    assert all(path.count("/") == 2 for path in table["category"].to_pylist())


def test_names_are_distinct_up_to_the_largest_shop() -> None:
    rng = np.random.default_rng(0)
    for language in ("en", "zh"):
        leaves = choose_leaves(MAX_CATEGORIES, language, rng)
        assert len({leaf.path for leaf in leaves}) == MAX_CATEGORIES
        assert len(set(brand_names(700, language, rng))) == 700
