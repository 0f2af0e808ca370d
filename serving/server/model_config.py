"""Reads models.config, the file that tensorflow_model_server reads too."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server.errors import ModelConfigError

_PLATFORM = "tensorflow"
_CONTAINER_ROOT = Path("/models")


@dataclass(frozen=True)
class ServedModel:
    """One model to serve.

    Attributes:
        name: Name that requests use.
        base_path: Folder that holds a folder per version, named by its number.
        num_latest: How many of the newest versions are served; None for all.
        specific_versions: Only these versions, if any are given.
        version_labels: Version by label.
    """

    name: str
    base_path: Path
    num_latest: int | None = 1
    specific_versions: tuple[int, ...] = ()
    version_labels: Mapping[str, int] = field(default_factory=dict)

    def choose_versions(self, found: Sequence[int]) -> list[int]:
        """Returns which of the versions on disk should be served, newest first."""
        newest_first = sorted(found, reverse=True)
        if self.specific_versions:
            return [v for v in newest_first if v in self.specific_versions]
        return newest_first[: self.num_latest]


def read_models_config(
    path: Path, *, models_root: Path | None = None
) -> list[ServedModel]:
    """Returns the models of a models.config in text format.

    Args:
        path: The file.
        models_root: Folder that stands for `/models`, where the container finds
            them; None leaves the paths as they are.

    Raises:
        ModelConfigError: With line and column if the text does not parse, or if
            a model cannot be served.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ModelConfigError(f"Cannot read models.config: {error}.") from error
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise ModelConfigError(
            f"{path} is not a ModelServerConfig in text format: {error}."
        ) from error
    return convert_config(config, models_root=models_root)


def convert_config(
    config: model_server_config_pb2.ModelServerConfig,
    *,
    models_root: Path | None = None,
) -> list[ServedModel]:
    """Returns the models of a parsed configuration; see `read_models_config`."""
    if config.WhichOneof("config") != "model_config_list":
        raise ModelConfigError(
            f"`model_config_list` must be set. Received: {config.WhichOneof('config')}."
        )
    models = [
        _convert_model(model, models_root) for model in config.model_config_list.config
    ]
    names = [m.name for m in models]
    if not models or len(set(names)) < len(names):
        raise ModelConfigError(
            "`model_config_list` must name at least one model, each once. "
            f"Received: {names}."
        )
    return models


def _convert_model(
    model: model_server_config_pb2.ModelConfig, models_root: Path | None
) -> ServedModel:
    if not model.name or not model.base_path:
        raise ModelConfigError(
            "Each model needs `name` and `base_path`. "
            f"Received: name={model.name!r}, base_path={model.base_path!r}."
        )
    if model.model_platform != _PLATFORM:
        raise ModelConfigError(
            f'`model_platform` of `{model.name}` must be "{_PLATFORM}". '
            f"Received: {model.model_platform!r}."
        )
    choice = model.model_version_policy.WhichOneof("policy_choice") or "latest"
    num_latest, specific_versions = _POLICIES[choice](model.model_version_policy)
    return ServedModel(
        model.name,
        _place(Path(model.base_path), models_root),
        num_latest,
        specific_versions,
        dict(model.version_labels),
    )


def _place(base_path: Path, models_root: Path | None) -> Path:
    if models_root is None or not base_path.is_relative_to(_CONTAINER_ROOT):
        return base_path
    return models_root / base_path.relative_to(_CONTAINER_ROOT)


def _specific(policy: object) -> tuple[int | None, tuple[int, ...]]:
    versions = tuple(policy.specific.versions)  # pyright: ignore
    if not versions:
        raise ModelConfigError(
            "`model_version_policy.specific` must name at least one version."
        )
    return None, versions


_POLICIES: dict[str, Callable[..., tuple[int | None, tuple[int, ...]]]] = {
    "latest": lambda policy: (policy.latest.num_versions or 1, ()),
    "all": lambda policy: (None, ()),
    "specific": _specific,
}
