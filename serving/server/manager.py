"""All served models: polls their folders and lends their versions."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

from tensorflow_serving.apis import model_pb2

from serving.server.errors import ModelLoadError, invalid_argument, not_found
from serving.server.loaded_model import LoadedModel
from serving.server.model_config import ServedModel
from serving.server.versions import ModelVersions, find_versions

_LOGGER = logging.getLogger(__name__)


class ModelManager:
    """Loads the configured models and keeps watching their folders.

    Args:
        models: What to serve.
        poll_seconds: Time between two looks at the folders.
    """

    def __init__(self, models: Sequence[ServedModel], *, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._models = {m.name: ModelVersions(m) for m in models}
        self._update_lock = threading.Lock()  # One thread loads at a time.
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._poll, name="model-versions", daemon=True
        )

    def start(self) -> None:
        """Loads every model once, then starts to poll.

        Raises:
            ModelLoadError: If a model has no version that can be served.
        """
        try:
            for versions in self._models.values():
                versions.update()
                _require_version(versions)
        except BaseException:
            self._retire_all()
            raise
        self._thread.start()

    def stop(self) -> None:
        """Stops polling and frees every version."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._retire_all()

    def find(self, model_spec: model_pb2.ModelSpec) -> ModelVersions:
        """Returns the versions of a model.

        Raises:
            ServingError: If the specification names no model or an unknown one.
        """
        if not model_spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        versions = self._models.get(model_spec.name)
        if versions is None:
            raise not_found(f"Servable not found for request: {_describe(model_spec)}")
        return versions

    def use(
        self, model_spec: model_pb2.ModelSpec
    ) -> AbstractContextManager[LoadedModel]:
        """Lends the version that a specification means; newest by default.

        Raises:
            ServingError: If it is not available.
        """
        versions = self.find(model_spec)
        choice = model_spec.WhichOneof("version_choice")
        if choice == "version":
            return versions.use(version=model_spec.version.value)
        if choice == "version_label":
            return versions.use(label=model_spec.version_label)
        return versions.use()

    def configure(self, models: Sequence[ServedModel]) -> None:
        """Replaces the configuration and loads what it adds.

        Raises:
            ServingError: If a label would point to a version that is not available.
            ModelLoadError: If a new model has no version that can be served;
                nothing is changed then.
        """
        with self._update_lock:
            before = self._models
            for config in models:
                if config.name in before:
                    before[config.name].check_labels(config)
            added = _load_added(models, before)
            for config in models:
                if config.name in before:
                    before[config.name].configure(config)
            self._models = {m.name: before.get(m.name) or added[m.name] for m in models}
            for name, versions in self._models.items():
                if name in before:
                    versions.update()
            for name in set(before) - set(self._models):
                before[name].retire_all()

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            with self._update_lock:
                for versions in self._models.values():
                    try:
                        versions.update()
                    except OSError as error:  # A folder that cannot be read now.
                        _LOGGER.error(
                            "Cannot look for versions of %s: %s",
                            versions.config.name,
                            error,
                        )

    def _retire_all(self) -> None:
        for versions in self._models.values():
            versions.retire_all()


def _load_added(
    models: Sequence[ServedModel], before: dict[str, ModelVersions]
) -> dict[str, ModelVersions]:
    added = {m.name: ModelVersions(m) for m in models if m.name not in before}
    try:
        for versions in added.values():
            versions.update()
            _require_version(versions)
    except BaseException:
        for versions in added.values():
            versions.retire_all()
        raise
    return added


def _require_version(versions: ModelVersions) -> None:
    if versions.available_versions:
        return
    config = versions.config
    errors = [s.error_message for s in versions.states.values() if s.error_message]
    if errors:
        raise ModelLoadError(
            f"No version of `{config.name}` could be loaded:\n  " + "\n  ".join(errors)
        )
    found = sorted(find_versions(config.base_path))
    raise ModelLoadError(
        f"No version of `{config.name}` to serve: expected a folder named by a number "
        f"in '{config.base_path}' that the version policy admits. Received: {found}. "
        "Export a model first, or correct `base_path` (`--models_root` says what "
        "stands for /models)."
    )


def _describe(model_spec: model_pb2.ModelSpec) -> str:
    if model_spec.WhichOneof("version_choice") == "version":
        return f"Specific({model_spec.name}, {model_spec.version.value})"
    return f"Latest({model_spec.name})"
