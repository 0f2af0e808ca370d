import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import speed, speed_rivals
from benchmarks.speed_rivals import Rival
from benchmarks.speed_turns import RivalError

SERVER = Path(speed_rivals.__file__).parent / "rivals" / "turn_server.py"
# Reads what it is told as the real ones do, and counts as RecBole does.
DRIVER = """
import json, sys, time
from pathlib import Path
from turn_server import NoMoreTurns, TurnServer
shapes = json.loads(Path(sys.argv[1]).read_text())
lines = Path(shapes["events"]).read_text().splitlines()[1:]
users = [line.split("\\t")[0] for line in lines]
server = TurnServer()
targets = len(users) - len(set(users)) + WRONG
server.announce({"epoch_targets": targets, "num_items": 6, "versions": {"torch": "2"}})
try:
    server.wait()
    while True:
        time.sleep(0.05)
        server.step(4)
except NoMoreTurns:
    pass
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    rows = ["user_id,item_id,event_type,timestamp"]
    for user in range(60):
        for step in range(6):
            item = (user + step) % 6
            rows.append(f"u{user},i{item},view,{1_700_000_000 + user * 9 + step}")
    (tmp_path / "events.csv").write_text("\n".join(rows) + "\n")
    config = {
        "name": "small",
        "data": {
            "events": {"paths": [str(tmp_path / "events.csv")], "format": "csv"},
            "event_types": ["view"],
            "split": {"protocol": "leave_one_out"},
        },
        "retrieval": {
            "embedding_dim": 4,
            "feedforward_dim": 8,
            "max_history_length": 4,
            "id_initializer": "random",
        },
    }
    (tmp_path / "small.yaml").write_text(json.dumps(config))  # Which is YAML, too.
    found = ["--config", str(tmp_path / "small.yaml")]
    found += ["--out", str(tmp_path / "out" / "speed.json"), "--rounds", "1"]
    return [*found, "--seconds", "0.05", "--work_dir", str(tmp_path / "work")]


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drivers"
    folder.mkdir()
    shutil.copy(SERVER, folder)
    monkeypatch.setattr(speed_rivals, "_DRIVERS", folder)

    def environment(rival: Rival, parent: Path) -> Path:
        if rival.name == "rectools":
            raise RivalError("RecTools 0.19 could not be installed: no index.")
        return Path(sys.executable)

    monkeypatch.setattr(speed, "ensure_environment", environment)
    return folder


@pytest.mark.slow
def test_missing_rival_is_named_the_others_are_measured_and_the_command_fails(
    arguments: list[str],
    drivers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (drivers / "recbole_sasrec.py").write_text(DRIVER.replace("WRONG", "0"))
    assert speed.main(arguments) == 1
    printed = capsys.readouterr()
    assert "error: RecTools 0.19 could not be installed: no index." in printed.err
    assert "Written:" in printed.out
    result = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert set(result["trainers"]) == {"tfrec", "recbole"}
    assert set(result["missing"]) == {"rectools"}
    # 60 histories of six events, of which the last two are not learned.
    assert result["trainers"]["tfrec"]["epoch_targets"] == 60 * 4
    assert result["trainers"]["recbole"]["epoch_targets"] == 60 * 3
    recbole = result["trainers"]["recbole"]["targets_per_second"]["median"]
    assert 0 < recbole < 4 / 0.05
    page = (tmp_path / "out" / "speed.md").read_text()
    assert "| RecTools 0.19 | missing |" in page
    assert "| RecBole 1.2.1 |" in page


@pytest.mark.slow
def test_rival_that_learns_other_targets_is_not_compared(
    arguments: list[str],
    drivers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (drivers / "recbole_sasrec.py").write_text(DRIVER.replace("WRONG", "7"))
    assert speed.main([*arguments, "--rivals", "recbole"]) == 1
    message = "should learn 180 targets an epoch. Received: 187."
    assert message in capsys.readouterr().err
    result = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert set(result["trainers"]) == {"tfrec"}


def test_other_losses_are_refused_before_anything_is_made(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main([*arguments, "--retrieval.loss", "gbce"]) == 1
    assert "`retrieval.loss` must be 'softmax'" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--rivals", "other"]])
def test_options_are_checked(arguments: list[str], wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        speed.main([*arguments, *wrong])
