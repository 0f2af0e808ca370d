"""`python -m export refresh`: what it says; the work itself is tested elsewhere."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from export import refresh as refresh_module
from export.__main__ import main
from export.gates import GateResult
from export.refresh import RefreshReport
from tfrec.data.refreshed import CatalogueChange


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, dict[str, Any]]]:
    """Stands in for the work; a run named `same` has nothing to change."""
    calls = []

    def refresh(run: Path, **options: Any) -> RefreshReport:
        calls.append((run, options))
        options.pop("on_step")("reading the change")
        options.pop("warn")("new.csv: 2 x a number that is none")
        if run.name == "broken":
            raise ValueError("'new.csv' cannot be used as a catalogue: no rows.")
        if run.name == "same":
            nothing = CatalogueChange(pa.table({}), 0, 0, 0, 0)
            return RefreshReport(7, nothing, None, {"reading the change": 0.5})
        change = CatalogueChange(pa.table({}), 1234, 5, 6, 1)
        export: Any = SimpleNamespace(
            path=run / "model" / "toy" / "8",
            gates=[GateResult("parity", "24 requests")],
        )
        return RefreshReport(None, change, export, {"reading the change": 0.5})

    monkeypatch.setattr(refresh_module, "refresh", refresh)
    return calls


def test_command_says_what_changed_and_where_it_is(calls, tmp_path, capsys):
    argv = ["refresh", "--run", str(tmp_path), "--items", "new.csv", "--complete"]
    assert main([*argv, "--remove", "gone.txt", "--version", "8"]) == 0
    ((run, options),) = calls
    assert run == tmp_path
    assert options == {
        "items": Path("new.csv"),
        "removed": Path("gone.txt"),
        "complete": True,
        "model_dir": None,
        "version": 8,
    }
    output, error = capsys.readouterr()
    assert error == "Warning: new.csv: 2 x a number that is none\n"
    assert f"Written to {tmp_path / 'model' / 'toy' / '8'}" in output
    for expected in ("since the training", "1,234", "gate parity", "24 requests"):
        assert expected in output


def test_no_difference_is_said_and_no_error(calls, tmp_path, capsys):
    assert main(["refresh", "--run", str(tmp_path / "same"), "--items", "x.csv"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "changed since version 7" in output
    assert "Nothing differs from version 7: no version was written." in output


def test_error_is_one_line_and_exit_code_one(calls, tmp_path, capsys):
    assert main(["refresh", "--run", str(tmp_path / "broken"), "--items", "x"]) == 1
    error = capsys.readouterr().err
    assert error == (
        "export refresh: 'new.csv' cannot be used as a catalogue: no rows.\n"
    )


def test_help_of_the_export_leads_to_that_of_the_refresh(capsys):
    for argv in (["--help"], ["refresh", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "`python -m export refresh --help`" in output
    for expected in ("--items FILE", "--remove FILE", "--complete", "without training"):
        assert expected in output
