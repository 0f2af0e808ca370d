from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from tfrec.config_file import (
    load_config,
    load_config_and_options,
    read_config,
    save_config,
)
from tfrec.config_messages import ConfigError
from tfrec.schema import RequestRule

MINIMAL = {
    "name": "shop",
    "data": {
        "events": {"paths": ["log.csv"]},
        "event_columns": {"timestamp": "time"},
    },
}


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def add(path: Path, text: str) -> Path:
    path.write_text(path.read_text() + text)
    return path


def error_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_info:
        load_config(argv, description="Trains.")
    assert exit_info.value.code == 2
    return capsys.readouterr().err


def test_number_with_exponent_is_a_float_and_not_text(config_path: Path) -> None:
    assert yaml.safe_load("1e-4") == "1e-4"  # Plain YAML gets it wrong.
    add(config_path, "retrieval: {dropout: 1e-4}\n")
    config = read_config(config_path)
    assert config.retrieval.dropout == 0.0001
    assert isinstance(config.retrieval.dropout, float)


def test_option_wins_over_file(config_path: Path) -> None:
    add(config_path, "retrieval: {dropout: 0.5, num_layers: 3}\n")
    argv = ["--config", str(config_path), "--retrieval.dropout", "0.25"]
    config = load_config(argv, description="Trains.")
    assert config.retrieval.dropout == 0.25
    assert config.retrieval.num_layers == 3


def test_later_file_wins_over_earlier(config_path: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("seed: 7\n")
    argv = ["--config", str(config_path), "--config", str(second)]
    config = load_config(argv, description="Trains.")
    assert (config.name, config.seed) == ("shop", 7)


def test_optional_sections_can_be_changed_and_taken_out(config_path: Path) -> None:
    base = ["--config", str(config_path)]
    changed = load_config([*base, "--ranking.dropout", "0.4"], description="")
    assert changed.ranking is not None
    assert changed.ranking.dropout == 0.4
    assert changed.ranking.num_candidates == 100
    assert load_config([*base, "--ranking", "null"], description="").ranking is None


def test_a_partly_given_section_keeps_the_other_defaults(config_path: Path) -> None:
    add(config_path, "training: {ranking: {patience: 9}}\n")
    stage = read_config(config_path).training.ranking
    assert (stage.patience, stage.max_epochs) == (9, 10)


def test_mappings_and_lists_are_read_from_options(config_path: Path) -> None:
    argv = ["--config", str(config_path), "--evaluation.k", "[3, 6]"]
    argv += ["--data.event_type_names.pv", "event"]
    config = load_config(argv, description="")
    assert config.evaluation.k == (3, 6)
    assert config.data.event_type_names == {"pv": "event"}


@pytest.mark.parametrize(
    ("text", "unknown", "known"),
    [
        ("retrieval: {dropuot: 0.1}", "retrieval.dropuot", "retrieval.dropout"),
        ("retreival: {dropout: 0.1}", "retreival", "retrieval"),
        (
            "ranking: {num_candidate: 5}",
            "ranking.num_candidate",
            "ranking.num_candidates",
        ),
        ("training: {retrieval: {optimizer: {learning_rat: 1}}}",)
        + ("training.retrieval.optimizer.learning_rat",)
        + ("training.retrieval.optimizer.learning_rate",),
    ],
)
def test_unknown_key_in_a_file_names_the_nearest(
    text: str,
    unknown: str,
    known: str,
    config_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(config_path, text + "\n")
    error = error_of(["--config", str(config_path)], capsys)
    assert f"Unknown config key `{unknown}`. Did you mean `{known}`?" in error
    assert str(config_path) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "hint"), [("4", "('4')"), ("no", "YAML makes a truth value")]
)
def test_what_yaml_reads_as_no_text_is_to_be_quoted(
    value: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "types.yaml"
    data = {**MINIMAL["data"], "event_type_names": {"pv": "TYPE"}}
    text = yaml.safe_dump({**MINIMAL, "data": data}).replace("TYPE", value)
    path.write_text(text)
    with pytest.raises(ConfigError) as info:
        read_config(path)
    assert "`data.event_type_names.pv`. Expected: text; quote it" in str(info.value)
    assert hint in str(info.value)


def test_unknown_key_in_a_list_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    data = {**MINIMAL["data"], "item_attributes": [{"name": "a", "colunm": "b"}]}
    path.write_text(yaml.safe_dump({**MINIMAL, "data": data}))
    with pytest.raises(ConfigError, match="mean `data.item_attributes.column`"):
        read_config(path)


@pytest.mark.parametrize(
    "option", ["--retrieval.dropuot=0.1", "--ranking.dropuot", "--data.items.dropuot"]
)
def test_unknown_option_names_the_nearest(
    option: str, config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(["--config", str(config_path), option, "0.1"], capsys)
    key = option.removeprefix("--").removesuffix("=0.1")
    assert f"Unknown config key `{key}`." in error
    assert error.count("\n") == 1


def test_unknown_plain_option_names_the_nearest(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(["--config", str(config_path), "--sede", "3"], capsys)
    assert "Unknown option `--sede`. Did you mean `--seed`?" in error


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("retrieval.dropout", "2", "less than 1"),
        ("retrieval.dropout", "abc", "a valid number"),
        ("retrieval.num_layers", "2.5", "a valid integer"),
        ("training.batching", "padded", "one of packed, bucketed"),
        ("ranking.dropout", "3", "less than 1"),
        ("seed", "1.5", "int"),
        ("name", "a/b", "matching"),
        ("evaluation.k", "10", "a list such as [a, b]"),
    ],
)
def test_bad_option_says_field_expected_and_received(
    option: str,
    value: str,
    expected: str,
    config_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = error_of(["--config", str(config_path), f"--{option}", value], capsys)
    assert f"Bad value of `{option}`. Expected: " in error
    assert expected in error
    assert f"Received: {value}." in error


def test_bad_values_in_a_file_are_all_listed(config_path: Path) -> None:
    add(config_path, "retrieval: {dropout: 2, num_heads: none}\n")
    with pytest.raises(ConfigError) as info:
        read_config(config_path)
    assert "`retrieval.dropout`. Expected: less than 1. Received: 2." in str(info.value)
    assert "`retrieval.num_heads`. Expected: a valid integer" in str(info.value)


def test_fields_that_do_not_fit_together_name_their_section(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--config", str(config_path), "--retrieval.num_heads", "5"]
    error = error_of(argv, capsys)
    assert "In `retrieval`: `num_heads` must divide `embedding_dim`." in error


def test_missing_keys_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of([], capsys)
    assert "`name` is missing" in error
    assert "`data.events.paths` is missing" in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "must hold `key: value` lines. Received: an empty file"),
        ("- a\n- b\n", "must hold `key: value` lines. Received: list"),
        ("data: [1\n", "is not valid YAML"),
    ],
)
def test_unreadable_file_is_explained(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="bad.yaml") as info:
        read_config(path)
    assert message in str(info.value)


def test_attributes_and_filters_round_trip(tmp_path: Path) -> None:
    attributes = [
        {"name": "category", "kind": "path", "separator": ">", "max_levels": 2},
        {"name": "genres", "kind": "tags", "column": "Genres"},
        {"name": "price", "kind": "numeric"},
    ]
    drop = [{"column": "InvoiceNo", "drop": "starts_with", "value": "C"}]
    data = {**MINIMAL["data"], "item_attributes": attributes}
    data["items"] = {"paths": ["items.csv"]}
    data["cleaning"] = {"drop_rows": drop}
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, "data": data}))
    config = read_config(path)
    kinds = [str(a.kind) for a in config.data.item_attributes]
    assert kinds == ["path", "tags", "numeric"]
    assert config.data.cleaning.drop_rows[0].value == "C"
    save_config(config, path)
    assert read_config(path) == config


def test_bad_member_of_a_list_is_explained(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = "--data.item_attributes=[{name: a, kind: pth}]"
    error = error_of(["--config", str(config_path), option], capsys)
    assert "`data.item_attributes.kind`. Expected: one of categorical, path" in error
    assert "Received: pth." in error


def test_saved_configuration_reads_back_equal(
    config_path: Path, tmp_path: Path
) -> None:
    argv = ["--config", str(config_path), "--retrieval.dropout", "1e-5"]
    argv += ["--ranking", "null", "--data.split.protocol", "leave_one_out"]
    config = load_config([*argv, "--run_dir", "runs/other"], description="")
    save_config(config, tmp_path / "saved.yaml")
    assert read_config(tmp_path / "saved.yaml") == config
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saved.yaml", "shop.yaml"]


def test_rules_of_the_order_are_read_from_files_and_options_and_saved(
    config_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text("export: {rules: [order, boost]}\n")
    argv = ["--config", str(config_path), "--config", str(tmp_path / "rules.yaml")]
    config = load_config(argv, description="")
    assert config.export.rules == (RequestRule.ORDER, RequestRule.BOOST)
    option = ["--config", str(config_path), "--export.rules", "[order, boost]"]
    assert load_config(option, description="") == config
    save_config(config, tmp_path / "saved.yaml")
    assert read_config(tmp_path / "saved.yaml") == config


def test_an_unknown_rule_is_told_which_there_are(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(["--config", str(config_path), "--export.rules", "[odr]"], capsys)
    assert "`export.rules`. Expected: a list of some of order, weights, boost" in error
    assert "Received: odr." in error


def test_printed_configuration_can_be_read_again(
    config_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--config", str(config_path), "--seed", "5", "--print_config"]
    with pytest.raises(SystemExit) as exit_info:
        load_config(argv, description="")
    assert exit_info.value.code == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    expected = load_config(argv[:-1], description="")
    assert read_config(tmp_path / "printed.yaml") == expected


def test_help_names_fields_units_and_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        load_config(["--help"], description="Trains both models.")
    assert exit_info.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Trains both models." in text
    assert "--retrieval.dropout" in text
    assert "float, >= 0, < 1" in text
    assert "for example `--retrieval.dropout 0.2" in text
    assert "Annotated" not in text
    assert "<class" not in text


def test_a_command_adds_its_own_options(config_path: Path) -> None:
    def options(parser: ArgumentParser) -> None:
        parser.add_argument("--overwrite", action="store_true", help="Replaces.")

    argv = ["--config", str(config_path), "--overwrite", "--seed", "2"]
    config, values = load_config_and_options(
        argv, description="Prepares.", add_options=options
    )
    assert config.seed == 2
    assert values.overwrite is True


def test_a_file_without_the_option_is_told_the_option(capsys):
    with pytest.raises(SystemExit):
        load_config(["shop.yaml"], description="")
    assert "given as `--config shop.yaml`" in capsys.readouterr().err


def test_an_empty_file_is_called_one(tmp_path, capsys):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(SystemExit):
        load_config(["--config", str(tmp_path / "empty.yaml")], description="")
    assert "Received: an empty file" in capsys.readouterr().err
