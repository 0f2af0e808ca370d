import errno
import os
from pathlib import Path

import duckdb
import pytest

from tfrec import run_record
from tfrec.file_errors import explain_error

FOLDER = Path("runs/shop")


def test_a_full_disk_is_named_with_what_to_do() -> None:
    bare = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "no space left for 'runs/shop'. Make room" in explain_error(bare, FOLDER)
    named = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/small/x.npy")
    assert "'/small/x.npy'" in explain_error(named, FOLDER)
    wrapped = duckdb.Error("Failed to commit: x.wal: No space left on device")
    assert "Make room" in explain_error(wrapped, FOLDER)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_closed_folder_is_named_with_what_to_do(number: int) -> None:
    error = OSError(number, os.strerror(number), "runs/shop/model")
    text = explain_error(error, FOLDER)
    assert f"'runs/shop/model' ({os.strerror(number)})" in text
    assert "choose another folder" in text


def test_other_errors_keep_their_text() -> None:
    assert explain_error(ValueError("wrong"), FOLDER) == "wrong"
    missing = FileNotFoundError(errno.ENOENT, "No such file", "a.csv")
    assert explain_error(missing, FOLDER) == str(missing)


def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        run_record.write_json(tmp_path / "timings.json", {})
    assert not list(tmp_path.iterdir())
