from pathlib import Path

import pytest

from export.version_folder import list_versions, new_version


def write(parent: Path, version: int | None = None) -> int:
    with new_version(parent, version) as draft:
        (draft.path / "model").write_text(f"content {draft.version}")
    assert draft.final_path.joinpath("model").read_text() == f"content {draft.version}"
    return draft.version


def test_versions_count_up_from_the_highest(tmp_path: Path):
    parent = tmp_path / "models" / "toy"
    assert [write(parent), write(parent, 12), write(parent, 5), write(parent)] == [
        1,
        12,
        5,
        13,
    ]
    (parent / "notes").mkdir()
    (parent / ".14-unfinished-x").mkdir()
    assert list_versions(parent) == [1, 5, 12, 13]


def test_unfinished_version_is_no_number_that_a_server_would_load(tmp_path: Path):
    with new_version(tmp_path) as draft:
        assert draft.path.parent == tmp_path
        assert list_versions(tmp_path) == []
    assert list_versions(tmp_path) == [1]
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_interrupted_version_leaves_nothing(tmp_path: Path, error: type[BaseException]):
    def write_half() -> None:
        with new_version(tmp_path / "a" / "b") as draft:
            (draft.path / "half").write_text("x")
            raise error

    with pytest.raises(error):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_interrupted_version_leaves_the_others(tmp_path: Path):
    write(tmp_path)
    with pytest.raises(ValueError), new_version(tmp_path):  # noqa: PT011
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_existing_version_is_refused(tmp_path: Path):
    write(tmp_path, 3)
    with pytest.raises(FileExistsError, match="Version 3 must be new"):
        write(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_version_that_somebody_else_finished_meanwhile_is_kept(tmp_path: Path):
    def write_second() -> None:
        with new_version(tmp_path) as draft:
            draft.final_path.mkdir()
            (draft.final_path / "model").write_text("theirs")

    with pytest.raises(FileExistsError, match="nothing was changed"):
        write_second()
    assert (tmp_path / "1" / "model").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("version", [0, -3])
def test_version_must_be_positive(tmp_path: Path, version: int):
    with pytest.raises(ValueError, match=f"version={version}"):
        write(tmp_path / "new", version)
    assert list(tmp_path.iterdir()) == []
