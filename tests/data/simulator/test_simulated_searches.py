"""Searches as rows of their own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.simulator.shops import Shop
from tfrec.config_file import read_config
from tfrec.data.simulator import sized_config
from tfrec.data.simulator.shop import simulate


def test_searches_are_rows_before_what_they_led_to_and_change_nothing_else(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    config = sized_config("tiny", seed=3, log_searches=True)
    summary = simulate(config, tmp_path / "shop")
    table = pq.read_table(summary.events_path)
    is_search = table["event_type"].to_numpy() == "search"
    rest = table.filter(pa.array(~is_search))
    assert rest.equals(pq.read_table(tiny_shop.summary.events_path))
    rows = np.flatnonzero(is_search)
    columns = {n: table[n].to_numpy() for n in table.column_names}
    views = rows + 1
    assert (columns["event_type"][views] == "view").all()
    for name in ("user_id", "session_id", "query"):
        assert (columns[name][rows] == columns[name][views]).all()
    assert (columns["timestamp"][rows] == columns["timestamp"][views] - 1).all()
    led = [query is not None for query in tiny_shop.events["query"]]
    assert len(rows) == sum(led) == summary.event_counts["search"] > 0
    for name in ("item_id", "price"):
        assert table.filter(pa.array(is_search))[name].null_count == len(rows)


def test_only_a_shop_that_logs_searches_declares_them(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    assert "search" not in tiny_shop.summary.event_counts
    assert read_config(tiny_shop.summary.config_path).data.search_event_type is None
    config = sized_config("tiny", seed=3, num_users=5, log_searches=True)
    summary = simulate(config, tmp_path / "shop", file_format="csv")
    assert read_config(summary.config_path).data.search_event_type == "search"
