"""The versions of one model: found on disk, loaded, swapped, freed."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from serving.server.errors import (
    ModelLoadError,
    failed_precondition,
    invalid_argument,
    not_found,
)
from serving.server.loaded_model import LoadedModel
from serving.server.model_config import ServedModel

_LOGGER = logging.getLogger(__name__)


class State(IntEnum):
    """Life of a version; the numbers are those of ModelVersionStatus.State."""

    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """State of a version, and why it ended if that was a failure."""

    state: State
    error_message: str = ""


@dataclass
class _Handle:
    """A loaded version and how many requests use it now."""

    model: LoadedModel
    num_users: int = 0
    retired: bool = False


@dataclass
class _Table:
    """What may be asked for; guarded by the lock of `ModelVersions`."""

    available: dict[int, _Handle] = field(default_factory=dict)
    states: dict[int, VersionState] = field(default_factory=dict)


class ModelVersions:
    """Keeps the versions that the configuration asks for loaded.

    A new version is loaded and warmed up before it is used, and the old one is
    freed after its last request. A version that fails to load ends with its
    error and the old one keeps serving; it is tried again only after its
    folder was gone. `update` must be called by one thread at a time; the other
    methods by any.

    Args:
        config: Which model and which versions of it.
        load: Loads a version from its folder; replaced in tests.
    """

    def __init__(
        self,
        config: ServedModel,
        load: Callable[[str, int, Path], LoadedModel] = LoadedModel,
    ) -> None:
        self._config = config
        self._load = load
        self._lock = threading.Lock()
        self._table = _Table()

    @property
    def config(self) -> ServedModel:
        """The configuration in force."""
        return self._config

    def check_labels(self, config: ServedModel) -> None:
        """Checks that a configuration could replace the one in force.

        Raises:
            ServingError: With FAILED_PRECONDITION if a label would point to a
                version that is not available.
        """
        available = self.available_versions
        for version in config.version_labels.values():
            if version not in available:
                raise failed_precondition(
                    f"Request to assign label to version {version} of model "
                    f"{config.name}, which is not currently available for inference"
                )

    def configure(self, config: ServedModel) -> None:
        """Replaces the configuration; `update` brings it into effect."""
        self._config = config

    def update(self) -> None:
        """Looks at the folder once; loads what is new, then retires what is old."""
        found = find_versions(self._config.base_path)
        wanted = self._config.choose_versions(list(found))
        self._forget_versions_gone(set(found))
        for version in wanted:
            if version not in self.states:
                self._load_version(version, found[version])
        with self._lock:
            serving = set(self._table.available)
            # An old version stays until one of the wanted ones can take over.
            keep = set(wanted) if serving & set(wanted) or not wanted else serving
        for version in sorted(serving - keep):
            self._retire(version)

    def retire_all(self) -> None:
        """Frees every version after its last request."""
        for version in self.available_versions:
            self._retire(version)

    @property
    def available_versions(self) -> list[int]:
        """Versions that answer now, ascending."""
        with self._lock:
            return sorted(self._table.available)

    @property
    def states(self) -> dict[int, VersionState]:
        """State of every known version, ascending."""
        with self._lock:
            return dict(sorted(self._table.states.items()))

    def version_of_label(self, label: str) -> int:
        """Returns the version that a label stands for.

        Raises:
            ServingError: With INVALID_ARGUMENT if there is no such label.
        """
        version = self._config.version_labels.get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    @contextmanager
    def use(
        self, *, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedModel]:
        """Lends a loaded version; it is not freed meanwhile.

        Args:
            version: Number; None means by label, or the newest.
            label: Label of a version.

        Raises:
            ServingError: If it is not available.
        """
        handle = self._acquire(version, label)
        try:
            yield handle.model
        finally:
            self._release(handle)

    def _acquire(self, version: int | None, label: str | None) -> _Handle:
        name = self._config.name
        if label is not None:
            version = self.version_of_label(label)
        with self._lock:
            available = self._table.available
            if version is None and available:
                version = max(available)
            if version is None or version not in available:
                asked = f"Specific({name}, {version})"
                if version is None:
                    asked = f"Latest({name})"
                raise not_found(f"Servable not found for request: {asked}")
            handle = available[version]
            handle.num_users += 1
            return handle

    def _release(self, handle: _Handle) -> None:
        with self._lock:
            handle.num_users -= 1
            last = handle.retired and handle.num_users == 0
        if last:
            self._free(handle)

    def _load_version(self, version: int, path: Path) -> None:
        self._set_state(version, VersionState(State.LOADING))
        try:
            model = self._load(self._config.name, version, path)
        except ModelLoadError as error:
            _LOGGER.error("%s", error)
            self._set_state(version, VersionState(State.END, str(error)))
            return
        with self._lock:
            self._table.available[version] = _Handle(model)
            self._table.states[version] = VersionState(State.AVAILABLE)
        _LOGGER.info("Serving %s version %d", self._config.name, version)

    def _retire(self, version: int) -> None:
        with self._lock:
            handle = self._table.available.pop(version)
            handle.retired = True
            self._table.states[version] = VersionState(State.UNLOADING)
            unused = handle.num_users == 0
        if unused:
            self._free(handle)

    def _free(self, handle: _Handle) -> None:
        handle.model.close()
        self._set_state(handle.model.version, VersionState(State.END))
        _LOGGER.info("Freed %s version %d", self._config.name, handle.model.version)

    def _set_state(self, version: int, state: VersionState) -> None:
        with self._lock:
            self._table.states[version] = state

    def _forget_versions_gone(self, found: set[int]) -> None:
        with self._lock:
            for version, state in list(self._table.states.items()):
                if version not in found and state.state == State.END:
                    del self._table.states[version]


def find_versions(base_path: Path) -> dict[int, Path]:
    """Returns the folder of every version: folders whose name is a number."""
    if not base_path.is_dir():
        return {}
    return {
        int(path.name): path
        for path in base_path.iterdir()
        if path.name.isascii() and path.name.isdecimal() and path.is_dir()
    }
