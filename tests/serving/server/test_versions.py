"""Loading, swapping and freeing, with models that only note what happens."""

import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.server.errors import ModelLoadError, ServingError
from serving.server.model_config import ServedModel
from serving.server.versions import ModelVersions, State


class FakeModel:
    """Stands for a loaded version."""

    def __init__(self, name: str, version: int, path: Path) -> None:
        if (path / "broken").exists():
            raise ModelLoadError(f"version {version} is broken")
        self.name = name
        self.version = version
        self.closed = False

    def close(self) -> None:
        self.closed = True


def add_version(base_path: Path, version: int | str, *, broken: bool = False) -> Path:
    path = base_path / str(version)
    path.mkdir(parents=True)
    if broken:
        (path / "broken").touch()
    return path


def versions_of(base_path: Path, **options: Any) -> ModelVersions:
    load: Any = FakeModel
    return ModelVersions(ServedModel("shop", base_path, **options), load)


def states_of(versions: ModelVersions) -> dict[int, State]:
    return {version: state.state for version, state in versions.states.items()}


def test_only_folders_named_by_a_number_are_versions(tmp_path: Path) -> None:
    for name in (1, "writing-7", "12x", ".13"):
        add_version(tmp_path, name)
    (tmp_path / "14").touch()
    versions = versions_of(tmp_path, num_latest=None)
    versions.update()
    assert versions.available_versions == [1]


def test_a_new_version_replaces_the_old(tmp_path: Path) -> None:
    add_version(tmp_path, 2)
    versions = versions_of(tmp_path)
    versions.update()
    with versions.use() as old:
        assert old.version == 2
    add_version(tmp_path, 10)
    versions.update()
    with versions.use() as new:
        assert new.version == 10
    assert old.closed  # pyright: ignore
    assert not new.closed  # pyright: ignore
    assert states_of(versions) == {2: State.END, 10: State.AVAILABLE}
    versions.update()
    assert versions.available_versions == [10]


def test_a_version_in_use_is_freed_after_its_last_request(tmp_path: Path) -> None:
    add_version(tmp_path, 1)
    versions = versions_of(tmp_path)
    versions.update()
    with versions.use() as first, versions.use() as second:
        assert first is second
        add_version(tmp_path, 2)
        versions.update()
        assert states_of(versions)[1] == State.UNLOADING
        assert not first.closed  # pyright: ignore
        with versions.use() as new:
            assert new.version == 2
    assert first.closed  # pyright: ignore
    assert states_of(versions)[1] == State.END


def test_a_version_that_fails_leaves_the_old_one_serving(tmp_path: Path) -> None:
    add_version(tmp_path, 1)
    versions = versions_of(tmp_path)
    versions.update()
    broken = add_version(tmp_path, 2, broken=True)
    for _ in range(2):
        versions.update()
        assert versions.available_versions == [1]
        assert versions.states[2].error_message == "version 2 is broken"
    (broken / "broken").unlink()
    versions.update()
    assert states_of(versions)[2] == State.END  # Tried once only.
    shutil.rmtree(broken)
    versions.update()
    add_version(tmp_path, 2)
    versions.update()
    assert versions.available_versions == [2]


def test_all_versions_of_a_policy_are_kept(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        add_version(tmp_path, version)
    versions = versions_of(
        tmp_path, num_latest=None, specific_versions=(1, 3), version_labels={"old": 1}
    )
    versions.update()
    assert versions.available_versions == [1, 3]
    with versions.use(version=1) as by_number, versions.use(label="old") as by_label:
        assert by_number is by_label
    with versions.use() as newest:
        assert newest.version == 3


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    versions = versions_of(tmp_path / "missing", version_labels={"old": 1})
    versions.update()
    cases: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
        ({}, grpc.StatusCode.NOT_FOUND, r"Latest\(shop\)"),
        ({"version": 4}, grpc.StatusCode.NOT_FOUND, r"Specific\(shop, 4\)"),
        ({"label": "old"}, grpc.StatusCode.NOT_FOUND, r"Specific\(shop, 1\)"),
        ({"label": "new"}, grpc.StatusCode.INVALID_ARGUMENT, "version label: new"),
    ]
    for choice, code, message in cases:
        with (
            pytest.raises(ServingError, match=message) as caught,
            versions.use(**choice),
        ):
            pass
        assert caught.value.code == code


def test_versions_are_unloaded_when_their_folders_go(tmp_path: Path) -> None:
    path = add_version(tmp_path, 1)
    versions = versions_of(tmp_path)
    versions.update()
    shutil.rmtree(path)
    versions.update()
    assert versions.available_versions == []


def test_a_label_may_only_point_to_an_available_version(tmp_path: Path) -> None:
    add_version(tmp_path, 1)
    versions = versions_of(tmp_path)
    versions.update()
    versions.check_labels(ServedModel("shop", tmp_path, version_labels={"a": 1}))
    with pytest.raises(ServingError, match="assign label to version 2") as caught:
        versions.check_labels(ServedModel("shop", tmp_path, version_labels={"a": 2}))
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
