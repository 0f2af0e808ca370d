import json
import sys
from pathlib import Path

import pytest

from benchmarks import speed_rivals
from benchmarks.rivals.turn_server import Turn
from benchmarks.speed_measure import Trainer, busy_seconds, measure
from benchmarks.speed_rivals import RIVALS, Rival, ensure_environment, find_python
from benchmarks.speed_turns import RivalError, TurnClient

SERVER = Path(speed_rivals.__file__).parent / "rivals" / "turn_server.py"
DRIVER = """
from turn_server import NoMoreTurns, TurnServer
import time
server = TurnServer()
print("a library's greeting")
server.announce({"epoch_targets": 12})
try:
    server.wait()
    while True:
        time.sleep(0.01)
        server.step(3)
except NoMoreTurns:
    pass
"""


def start(folder: Path, code: str, *, seconds: float = 30.0) -> TurnClient:
    (folder / "turn_server.py").write_text(SERVER.read_text())
    script = folder / "driver.py"
    script.write_text(code)
    return TurnClient(
        "Rival",
        [sys.executable, str(script)],
        log=folder / "log",
        folder=folder,
        start_seconds=seconds,
        step_seconds=seconds,
    )


def program(path: Path, lines: str) -> Path:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def test_rival_works_in_whole_steps_of_its_turns(tmp_path: Path) -> None:
    with start(tmp_path, DRIVER) as client:
        assert client.facts == {"epoch_targets": 12}
        first, second = client.turn(0.0), client.turn(0.05)
    assert (first.targets, first.steps) == (3, 1)
    assert second.targets == 3 * second.steps
    assert second.steps > 1
    assert second.seconds >= 0.05
    assert second.cpu_seconds < second.seconds
    assert "a library's greeting" in (tmp_path / "log").read_text()


def test_rival_that_ends_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(RivalError, match=r"Rival .* ended \(exit code 1;.*no torch"):
        start(tmp_path, "raise SystemExit('no torch')")


def test_rival_that_fails_in_its_turn_is_named(tmp_path: Path) -> None:
    broken = DRIVER.replace("server.step(3)", "raise SystemExit('loss is nan')")
    with start(tmp_path, broken) as client:
        with pytest.raises(RivalError, match="loss is nan"):
            client.turn(1.0)
        with pytest.raises(RivalError, match="ended"):
            client.turn(1.0)


def test_silent_rival_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(RivalError, match="gave no answer in 1 s"):
        start(tmp_path, "import time; time.sleep(60)", seconds=1.0)


def test_failing_rival_leaves_the_turns_of_the_others() -> None:
    calls = []

    def fails_later(seconds: float) -> Turn:
        calls.append(seconds)
        if len(calls) == 2:
            raise RivalError("Rival ended.")
        return Turn(1, 1, 1.0, 1.0)

    def works(seconds: float) -> Turn:
        return Turn(5, 1, seconds, 1.0)

    trainers = {"tfrec": Trainer(works, {}), "recbole": Trainer(fails_later, {})}
    missing: dict[str, str] = {}
    found = measure(trainers, rounds=3, seconds=4.0, missing=missing)
    assert [list(one) for one in found] == [["tfrec"]] * 3
    assert missing == {"recbole": "Rival ended."}
    assert calls == [3.0, 4.0]  # A shorter turn to warm up.


def test_busy_time_is_all_but_idle_and_waiting(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    path.write_text("cpu 100 20 30 4000 500 6 7 8 999 999\ncpu0 1 1 1 1 1 1 1 1\n")
    short = tmp_path / "twice"
    short.write_text("cpu 200 40 60 9000 900 12 14 16 999 999\n")
    one, two = busy_seconds(path), busy_seconds(short)
    assert one is not None
    assert two == pytest.approx(2 * one)
    assert busy_seconds(tmp_path / "none") is None


def test_failed_install_says_which_rival_and_what_pip_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = program(tmp_path / "python", "echo ERROR: no such version; exit 1")
    monkeypatch.setattr(speed_rivals, "find_python", lambda rival: str(fails))
    wanted = r"RecBole 1.2.1 could not be installed.*no such version.*recbole-install"
    with pytest.raises(RivalError, match=wanted):
        ensure_environment(RIVALS["recbole"], tmp_path / "environments")
    assert not list((tmp_path / "environments").glob("*/installed.json"))


def test_environment_is_made_once_and_again_for_other_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    # Stands for Python: as `-m venv` it makes one, as `-m pip` it notes the call.
    lines = f'echo "$@" >> {calls}\nfor last; do :; done\n'
    lines += 'test "$2" = venv && mkdir -p "$last/bin" && cp "$0" "$last/bin/python"\n'
    fake = program(tmp_path / "python", lines + "exit 0")
    monkeypatch.setattr(speed_rivals, "find_python", lambda rival: str(fake))
    rival = Rival("small", "Small", ("small==1",), ("3.11",), goal=1.0)
    python = ensure_environment(rival, tmp_path)
    assert ensure_environment(rival, tmp_path) == python
    assert python == tmp_path / "small" / "bin" / "python"
    made = calls.read_text().splitlines()
    assert len(made) == 2
    assert made[1].endswith("install --disable-pip-version-check small==1")
    other = Rival("small", "Small", ("small==2",), ("3.11",), goal=1.0)
    ensure_environment(other, tmp_path)
    assert calls.read_text().splitlines()[3].endswith("small==2")


def test_python_is_taken_only_where_the_rival_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = Rival("small", "Small", (), ("3.5",), goal=1.0)
    program(tmp_path / "python3.5", "exit 127")  # A shim with nothing behind it.
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RivalError, match=r"Small installs on Python 3\.5 only.*Recei"):
        find_python(rival)
    program(tmp_path / "python3.5", "echo 3.5")
    assert find_python(rival) == str(tmp_path / "python3.5")


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_every_rival_has_a_driver_and_one_torch(name: str) -> None:
    rival = RIVALS[name]
    assert rival.driver.is_file()
    assert rival.requirements[-1].startswith("torch==")


SHAPES = {
    "folder": "data",
    "embedding_dim": 8,
    "feedforward_dim": 24,
    "num_layers": 3,
    "num_heads": 4,
    "max_history_length": 17,
    "dropout": 0.25,
    "batch_targets": 999,
    "batch_prefixes": 99,
    "batch_histories": 11,
    "learning_rate": 0.01,
    "seed": 5,
}


def test_drivers_hand_all_shapes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SERVER.parent))
    import recbole_sasrec  # pyright: ignore[reportMissingImports]
    import rectools_sasrec  # pyright: ignore[reportMissingImports]

    recbole = recbole_sasrec.settings(SHAPES)
    assert (recbole["hidden_size"], recbole["inner_size"]) == (8, 24)
    assert (recbole["n_layers"], recbole["n_heads"]) == (3, 4)
    assert recbole["MAX_ITEM_LIST_LENGTH"] == 17
    assert recbole["hidden_dropout_prob"] == recbole["attn_dropout_prob"] == 0.25
    assert (recbole["loss_type"], recbole["train_neg_sample_args"]) == ("CE", None)
    assert recbole["train_batch_size"] == 99
    rectools = rectools_sasrec.settings(SHAPES)
    assert (rectools["n_factors"], rectools["n_blocks"]) == (8, 3)
    assert (rectools["n_heads"], rectools["session_max_len"]) == (4, 17)
    assert (rectools["loss"], rectools["batch_size"]) == ("softmax", 11)
    assert json.dumps(recbole)
