from pathlib import Path

import pytest

from serving.server.errors import ModelConfigError
from serving.server.model_config import ServedModel, read_models_config

HEAD = 'name: "shop" base_path: "/models/shop" model_platform: "tensorflow"'


def read(tmp_path: Path, *models: str, root: Path | None = None) -> list[ServedModel]:
    path = tmp_path / "models.config"
    body = "".join(f"config {{ {model} }}\n" for model in models)
    path.write_text(f"# A comment.\nmodel_config_list {{\n{body}}}\n")
    return read_models_config(path, models_root=root)


def test_the_newest_version_is_served_by_default(tmp_path: Path) -> None:
    (model,) = read(tmp_path, HEAD)
    assert (model.name, model.base_path) == ("shop", Path("/models/shop"))
    assert model.choose_versions([1, 10, 9]) == [10]
    assert model.choose_versions([]) == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest { num_versions: 2 }", [10, 9]),
        ("all {}", [10, 9, 1]),
        ("specific { versions: 1 versions: 10 versions: 7 }", [10, 1]),
    ],
)
def test_a_policy_chooses_versions(
    tmp_path: Path, policy: str, expected: list[int]
) -> None:
    (model,) = read(tmp_path, f"{HEAD} model_version_policy {{ {policy} }}")
    assert model.choose_versions([9, 1, 10]) == expected


def test_labels_and_the_root_of_the_models_are_read(tmp_path: Path) -> None:
    labels = 'version_labels { key: "stable" value: 3 }'
    other = 'name: "x" base_path: "elsewhere/x" model_platform: "tensorflow"'
    shop, x = read(tmp_path, f"{HEAD} {labels}", other, root=Path("runs/demo/model"))
    assert shop.version_labels == {"stable": 3}
    assert shop.base_path == Path("runs/demo/model/shop")
    assert x.base_path == Path("elsewhere/x")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["nonsense: 1"], r'3:10 : .*no field named "nonsense"'),
        ([HEAD, HEAD], r"each once. Received: \['shop', 'shop'\]"),
        ([], "at least one model"),
        (['name: "a" model_platform: "tensorflow"'], "`name` and `base_path`.*'a'"),
        (['name: "a" base_path: "/b"'], '`model_platform` of `a` must be "tensorflow"'),
        ([HEAD + " model_version_policy { specific {} }"], "at least one version"),
    ],
)
def test_a_bad_file_says_what_is_wrong(
    tmp_path: Path, models: list[str], message: str
) -> None:
    with pytest.raises(ModelConfigError, match=message):
        read(tmp_path, *models)


def test_a_file_without_models_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("")
    with pytest.raises(ModelConfigError, match="`model_config_list` must be set"):
        read_models_config(path)
    with pytest.raises(ModelConfigError, match="No such file"):
        read_models_config(tmp_path / "missing")
