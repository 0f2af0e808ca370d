"""The server's command line: one process, asked, then stopped by SIGTERM."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tfrec_client import RecommenderClient

from serving.server.__main__ import main

ROOT = Path(__file__).parents[3]


def test_the_command_serves_the_containers_config_until_a_signal(
    toy_base_path: Path, tmp_path: Path
) -> None:
    models_root = tmp_path / "models"
    models_root.mkdir()
    (models_root / "tfrec").symlink_to(toy_base_path)
    config = ROOT / "serving" / "container" / "models.config"
    command = [sys.executable, "-m", "serving.server", "--port", "0"]
    command += ["--models_config", str(config), "--models_root", str(models_root)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            word, host, port = process.stdout.readline().split()
            assert word == "LISTENING"
            with RecommenderClient(
                f"{host}:{port}", model_name="tfrec", timeout_seconds=20
            ) as client:
                assert client.recommend([], k=1)[0].item_id == "item-0"
        finally:
            process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, ""), errors
    assert "Freed tfrec version 1" in errors


def test_failures_at_the_start_are_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model_base_path", str(tmp_path), "--port", "0"]) == 1
    assert "Failed to start server. No version of `tfrec`" in capsys.readouterr().err
    assert main(["--models_config", str(tmp_path / "none")]) == 1
    assert "Cannot read models.config" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["--models_config", "a", "--model_base_path", "b"]]
)
def test_one_way_to_name_the_models_is_needed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "give either --models_config or --model_base_path" in capsys.readouterr().err
