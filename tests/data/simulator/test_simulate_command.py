from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tfrec.data.simulator import SimulatorConfig
from tfrec.simulate import main


def test_the_command_writes_a_shop_with_overridden_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shop"
    arguments = ["--size", "tiny", "--output", str(output), "--num_users", "7"]
    assert main([*arguments, "--start_date", "2024-02-28"]) == 0
    table = pq.read_table(output / "events.parquet")
    assert len(set(table["user_id"].to_pylist())) == 7
    first_day = 1_709_078_400  # 2024-02-28 00:00 UTC.
    times = table["timestamp"].to_pylist()
    assert first_day <= min(times) < max(times) < first_day + 30 * 86_400
    views = table["event_type"].to_pylist().count("view")
    assert f"{views:,}" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_help_names_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    for name in SimulatorConfig.model_fields:
        assert f"--{name} " in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_user", "3"], "Did you mean `--num_users`?"),
        (["--num_users", "many"], "--num_users: Input should be a valid integer"),
        (["--search_probability", "3"], "Received: '3'"),
        (["--num_items", "5"], "Received: num_items=5, num_categories=48"),
        (["--size", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--output", str(tmp_path / "s")])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
