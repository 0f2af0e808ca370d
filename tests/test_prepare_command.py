from pathlib import Path

import pytest

from tfrec.prepare import main


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,a\nu,b\nu,c\n,d\n")
    text = f"""
name: corner_shop
data:
  events: {{paths: ["{tmp_path}/log.csv"]}}
  prepared_dir: {tmp_path}/prepared
  cleaning: {{max_reject_share: 0.5}}
  split: {{protocol: leave_one_out}}
"""
    (tmp_path / "config.yaml").write_text(text)
    return tmp_path / "config.yaml"


def test_the_command_prints_what_was_kept_and_left_out(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(config_file)]) == 0

    printed = capsys.readouterr().out
    assert "corner_shop: 1 users, 2 items" in printed
    assert "unusable: no user id" in printed
    assert str(config_file.parent / "prepared") in printed.replace("\n", "")


def test_a_bad_log_ends_with_code_1_and_its_reason(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(config_file), "--data.cleaning.max_reject_share", "0"]

    assert main(arguments) == 1

    printed = capsys.readouterr()
    assert "no user id, e.g." in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert not (config_file.parent / "prepared").exists()


def test_another_dataset_is_replaced_only_when_told(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--config", str(config_file), "--data.num_shards", "1"]
    assert main(["--config", str(config_file)]) == 0

    assert main(changed) == 1
    assert "data.num_shards: 4 -> 1" in capsys.readouterr().err
    assert main([*changed, "--overwrite"]) == 0


def test_tables_of_many_long_event_types_fit_into_80_columns(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    types = [f"added_to_the_wish_list_{i}" for i in range(8)]
    times = [(day, kind) for day in range(1, 29) for kind in types]
    rows = [f"u,a,{kind},2024-02-{day:02}" for day, kind in times]
    unknown = "x" * 100 + "[red]"
    rows += [f"u,a,{unknown},2024-02-01"]
    text = "user_id,item_id,what,time\n" + "\n".join(rows) + "\n"
    (tmp_path / "log.csv").write_text(text)
    (tmp_path / "config.yaml").write_text(f"""
name: wide
data:
  events: {{paths: ["{tmp_path}/log.csv"]}}
  prepared_dir: {tmp_path}/prepared
  event_columns: {{event_type: what, timestamp: time}}
  event_types: {types}
  time_zone: Europe/Stockholm
  split: {{protocol: by_time, validation_days: 7, test_days: 7}}
""")
    monkeypatch.setenv("COLUMNS", "80")

    assert main(["--config", str(tmp_path / "config.yaml")]) == 0

    printed = capsys.readouterr().out
    tables = [line for line in printed.splitlines() if line[:1] in "┏┃┡│└"]
    assert tables
    assert max(map(len, tables)) <= 80
    assert "…" not in printed
    for whole in (*types, "validation", "2024-02-15", "2024-02-22"):
        assert whole in printed
    assert f"{unknown}'" in "".join(
        line.split("│")[-2].strip() for line in tables[-10:-1]
    )


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "rejects.csv" in printed
    assert "--overwrite" in printed
