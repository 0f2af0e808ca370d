"""What may be searched, and what is said of the rest before any trial."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.config_messages import ConfigError
from tfrec.tuning.space import (
    USUAL_SPACES,
    apply_values,
    build_space,
    decode,
    nest,
    own_values,
)


def config_of(tmp_path: Path, space: dict[str, Any], **tune: Any) -> ExperimentConfig:
    return make_config(tmp_path, tune={"space": space, **tune})


def test_kinds_follow_the_settings_and_values_arrive_as_they_are_configured(tmp_path):
    config = config_of(
        tmp_path,
        {
            "retrieval.dropout": {"low": 0.1, "high": 0.5},
            "retrieval.num_layers": {"low": 1, "high": 3},
            "retrieval.recency_half_life_days": {"low": 1, "high": 90, "log": True},
            "retrieval.id_initializer": {"choices": ["random", "cooccurrence"]},
            "ranking.hidden_dims": {"choices": [[64], [64, 32]]},
        },
        stages="both",
    )
    space = build_space(config)
    assert [one.kind for one in space] == ["float", "int", "float", "choice", "choice"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = {one.key: one.suggest(trial) for one in space}
        tried = apply_values(config, values)
        assert 0.1 <= tried.retrieval.dropout <= 0.5
        assert tried.retrieval.num_layers in (1, 2, 3)
        assert tried.ranking is not None
        assert tried.ranking.hidden_dims in ((64,), (64, 32))
        # What the study keeps leads to the same values again.
        assert {k: decode(v) for k, v in trial.params.items()} == values
        assert tried.training == config.training


def test_own_values_are_those_of_the_configuration_if_they_are_inside(tmp_path):
    config = config_of(
        tmp_path,
        {
            "retrieval.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
            "retrieval.num_heads": {"choices": [1, 2]},
        },
    )
    space = build_space(config)
    own = own_values(config, space)
    assert own == {"retrieval.dropout": 0.0, "retrieval.num_heads": 2}
    assert [one.encode(own[one.key]) for one in space] == [0.0, 2]
    for one, value in zip(space, (0.3, 3), strict=True):
        with pytest.raises(ValueError, match=f"{one.key}.*outside of"):
            one.encode(value)


@pytest.mark.parametrize("stages", ["retrieval", "ranking", "both"])
def test_usual_spaces_hold_the_usual_configuration(tmp_path, stages):
    changes = {"data": {"split": {"protocol": "leave_one_out"}}}
    base = make_config(tmp_path, tune={"stages": stages}, **changes).model_dump()
    for section in ("retrieval", "ranking", "training"):
        del base[section]
    config = ExperimentConfig.model_validate(base)
    space = build_space(config)
    assert {one.key for one in space} == set(USUAL_SPACES[stages])
    own = own_values(config, space)
    assert {one.key: one.encode(own[one.key]) for one in space} == own


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"retrieval.dropuot": {"low": 0, "high": 1}},
            r"`tune.space`.*`retrieval.dropuot`. Did you mean `retrieval.dropout`",
        ),
        (
            {"retrieval.dropout": {"low": 0.5, "high": 1.5}},
            r"Bad value of `retrieval.dropout`. Expected: less than 1. Received: 1.5",
        ),
        (
            {"retrieval.num_layers": {"low": 1, "high": 2.5}},
            r"`tune.space.retrieval.num_layers` is a whole number.*2\.5",
        ),
        (
            {"retrieval.loss": {"low": 1, "high": 2}},
            r"`tune.space.retrieval.loss` is no number. Expected: `choices`",
        ),
        (
            {"retrieval.loss": {"choices": ["softmax", "hinge"]}},
            r"Bad value of `retrieval.loss`.*'softmax', 'sampled_softmax'.*'hinge'",
        ),
        (
            {"evaluation.exclude_seen": {"choices": [True, False]}},
            r"`evaluation.exclude_seen`, which those trials",
        ),
        (
            {"data.session_gap_minutes": {"low": 1, "high": 9}},
            r"`data.session_gap_minutes`, which those trials",
        ),
        (
            {"ranking.dropout": {"low": 0, "high": 0.5}},
            r"with `tune.stages=retrieval`. Received: `ranking.dropout`",
        ),
        (
            {"training.finetune_epochs": {"low": 0, "high": 2}},
            r"`training.finetune_epochs`, which those trials",
        ),
        (
            {"text.max_length": {"low": 8, "high": 64}},
            r"`text.max_length`, but `text` is null",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_searched_is_explained(tmp_path, space, message):
    with pytest.raises(ConfigError, match=message):
        build_space(config_of(tmp_path, space))


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"low": 0.1}, "`low` and `high`, or `choices` alone"),
        ({"low": 0.1, "high": 0.5, "choices": [1]}, "`choices` alone"),
        ({"low": 0.5, "high": 0.1}, r"`low` must be below `high`.*low=0.5, high=0.1"),
        ({"low": 0, "high": 1, "log": True}, "above 0 with `log: true`"),
        ({"choices": [1, 2], "log": True}, "`choices` have neither"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "cannot both be given"),
    ],
)
def test_range_that_means_nothing_is_explained(tmp_path, span, message):
    with pytest.raises(ValueError, match=message):
        config_of(tmp_path, {"retrieval.dropout": span})


def test_values_that_do_not_go_together_are_seen_with_their_trial(tmp_path):
    config = config_of(tmp_path, {"retrieval.num_heads": {"choices": [2, 3]}})
    build_space(config)  # 3 heads fit other widths.
    with pytest.raises(ConfigError, match="num_heads=3, embedding_dim=16"):
        apply_values(config, {"retrieval.num_heads": 3})


def test_tuning_ranking_needs_a_ranking_model(tmp_path):
    config = make_config(tmp_path, ranking=None, tune={"stages": "both"})
    with pytest.raises(ConfigError, match=r"`tune.stages=both`.*`ranking` is null"):
        build_space(config)


def test_dotted_names_become_sections():
    values = {"a.b.c": 1, "a.b.d": 2, "e": 3}
    assert nest(values) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
