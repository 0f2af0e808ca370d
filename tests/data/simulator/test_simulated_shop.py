"""Files of a shop: repeatable, whole or absent."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pa_csv
import pytest
from pydantic import ValidationError

from tests.data.simulator.shops import Shop, read_columns
from tfrec.config_file import load_config
from tfrec.data.simulator import SimulatorConfig, simulate, sized_config
from tfrec.data.simulator import shop as shop_module

SMALL: dict[str, Any] = {
    "num_users": 20, "num_items": 30, "num_categories": 3, "num_brands": 4,
    "num_days": 20, "validation_days": 2, "test_days": 2,
}  # fmt: skip


def assert_same_columns(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray]
) -> None:
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("chunk_users", [7, 150])
def test_the_shop_depends_on_the_seed_and_not_on_the_chunks(
    tiny_shop: Shop, tmp_path: Path, chunk_users: int
) -> None:
    config = tiny_shop.config.model_copy(update={"chunk_users": chunk_users})
    again = simulate(config, tmp_path / "again")
    assert_same_columns(read_columns(again.events_path), tiny_shop.events)
    states = "states.parquet"
    first = read_columns(tiny_shop.summary.truth_path / states)
    second = read_columns(again.truth_path / states)
    assert list(first) == list(second)
    for name in first:
        assert [list(np.atleast_1d(v)) for v in first[name]] == [
            list(np.atleast_1d(v)) for v in second[name]
        ]


def test_a_shopper_does_not_change_when_others_are_added(
    tiny_shop: Shop, tmp_path: Path
) -> None:
    config = tiny_shop.config.model_copy(update={"num_users": 5})
    few = read_columns(simulate(config, tmp_path / "few").events_path)
    kept = np.isin(tiny_shop.events["user_id"], [f"u{n}" for n in range(5)])
    assert_same_columns(few, {n: v[kept] for n, v in tiny_shop.events.items()})


def test_another_seed_gives_another_shop(tmp_path: Path) -> None:
    first, second = (
        read_columns(
            simulate(
                SimulatorConfig(seed=seed, **SMALL), tmp_path / str(seed)
            ).events_path
        )
        for seed in (0, 1)
    )
    length = min(len(first["timestamp"]), len(second["timestamp"]))
    same = first["timestamp"][:length] == second["timestamp"][:length]
    assert same.mean() < 0.1


def test_csv_holds_the_same_rows_as_parquet(tmp_path: Path) -> None:
    config = SimulatorConfig(language="zh", **SMALL)
    parquet = simulate(config, tmp_path / "parquet")
    csv = simulate(config, tmp_path / "csv", file_format="csv")
    read = pa_csv.read_csv(
        csv.events_path,
        convert_options=pa_csv.ConvertOptions(strings_can_be_null=True),
    )
    expected = read_columns(parquet.events_path)
    assert read.column_names == list(expected)
    for name, values in expected.items():
        column = read[name].to_numpy(zero_copy_only=False)
        if values.dtype.kind == "f":
            np.testing.assert_allclose(column, values, rtol=1e-6)
        else:
            np.testing.assert_array_equal(column, values)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_the_written_configuration_loads_and_names_what_is_there(
    tmp_path: Path, file_format: str
) -> None:
    config = SimulatorConfig(name="corner", seed=4, **SMALL)
    summary = simulate(config, tmp_path / "s", file_format=file_format)  # type: ignore[arg-type]
    experiment = load_config(["--config", str(summary.config_path)], description="")
    assert (experiment.name, experiment.seed) == ("corner", 4)
    assert experiment.data.events.paths == (str(summary.events_path),)
    assert experiment.data.items is not None
    assert experiment.data.items.paths == (str(summary.items_path),)
    assert summary.events_path.is_file()
    assert summary.items_path.is_file()
    assert experiment.experiment_schema.target_event_types == ("view",)
    split = experiment.data.split
    assert (split.validation_days, split.test_days) == (2, 2)


def test_a_shop_is_replaced_only_when_asked_and_anything_else_never(
    tmp_path: Path,
) -> None:
    config = SimulatorConfig(**SMALL)
    first = simulate(config, tmp_path / "shop")
    with pytest.raises(FileExistsError, match="overwrite"):
        simulate(config, tmp_path / "shop")
    other = config.model_copy(update={"num_users": 3})
    simulate(other, tmp_path / "shop", overwrite=True)
    users = set(read_columns(first.events_path)["user_id"])
    assert users == {"u0", "u1", "u2"}
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "precious.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="something else"):
        simulate(config, letters, overwrite=True)
    assert (letters / "precious.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letters", "shop"]


def test_a_failure_leaves_nothing_new_and_keeps_the_old_shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimulatorConfig(**SMALL)
    before = read_columns(simulate(config, tmp_path / "shop").events_path)

    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(shop_module, "simulate_users", fail)
    for name in ("shop", "new"):
        with pytest.raises(OSError, match="No space left"):
            simulate(config, tmp_path / name, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]
    assert_same_columns(read_columns(tmp_path / "shop" / "events.parquet"), before)


def test_one_shopper_and_the_smallest_catalogue_are_a_shop(tmp_path: Path) -> None:
    config = SimulatorConfig(
        num_users=1, num_items=4, num_categories=2, num_brands=1, num_days=3,
        validation_days=1, test_days=1, num_favourites=1, num_profiles=1,
    )  # fmt: skip
    summary = simulate(config, tmp_path / "s")
    assert summary.event_counts["view"] >= 1


def test_wrong_settings_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="num_items=5, num_categories=8"):
        SimulatorConfig(num_items=5, num_categories=8)
    with pytest.raises(ValueError, match="max_intent_views=2"):
        SimulatorConfig(max_intent_views=2)
    with pytest.raises(ValueError, match="num_days=14"):
        SimulatorConfig(num_days=14)
    with pytest.raises(ValidationError, match="num_user"):
        SimulatorConfig(num_user=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="size='huge'"):
        sized_config("huge")
