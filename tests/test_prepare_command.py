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


def test_help_says_what_is_read_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "rejects.csv" in printed
    assert "--overwrite" in printed
