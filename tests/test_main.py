import sys
import types

import pytest

from tfrec.__main__ import COMMANDS, main


def test_no_command_lists_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    for command in ("simulate", "prepare", "train", "evaluate", "report"):
        assert command in text


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    error = capsys.readouterr().err
    assert "unknown command `trian`. Did you mean `train`?" in error


def test_command_gets_its_options_and_gives_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    received: list[list[str]] = []

    def fake_main(argv: list[str]) -> int:
        received.append(argv)
        return 7

    module = types.ModuleType("tfrec.fake")
    module.main = fake_main  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "tfrec.fake", module)
    monkeypatch.setitem(COMMANDS, "fake", "Only here.")
    monkeypatch.setattr(sys, "argv", ["tfrec"])
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    assert main(["fake", "--seed", "3"]) == 7
    assert received == [["--seed", "3"]]
    assert sys.argv[0] == "tfrec fake"
