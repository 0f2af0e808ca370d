from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tfrec.config import DataConfig, ExperimentConfig, RetrievalConfig, TableConfig
from tfrec.config_messages import config_fields


def build(**data: Any) -> ExperimentConfig:
    data = {
        "events": {"paths": ["log.csv"]},
        "event_columns": {"timestamp": "time"},
        **data,
    }
    return ExperimentConfig.model_validate({"name": "shop", "data": data})


def test_configuration_cannot_be_changed() -> None:
    config = build()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"data\.evnts"):
        build(evnts={})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"events": {"paths": []}}, "`paths` must name at least one"),
        ({"events": {"paths": ["a"], "header": False}}, "`columns` must name"),
        ({"event_types": ["view", "cart"]}, "`event_types` must have exactly one"),
        ({"event_columns": {"timestamp": None}}, "needs `event_columns.timestamp`"),
        ({"target_event_types": ["cart"]}, "`target_event_types` must name"),
    ],
)
def test_fields_that_contradict_each_other_are_explained(
    data: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        build(**data)


@pytest.mark.parametrize("name", [".", "..", ".hidden", "a/b", ""])
def test_a_name_is_that_of_a_folder_below_its_parent(name: str) -> None:
    data = build().model_dump()
    with pytest.raises(ValidationError, match="name"):
        ExperimentConfig.model_validate({**data, "name": name})


@pytest.mark.parametrize(
    "settings", [{"baselines": ["popp"]}, {"k": [0]}, {"k": []}, {"num_bootstrap": 1}]
)
def test_what_a_report_cannot_show_is_refused_before_training(settings: dict) -> None:
    data = build().model_dump()
    with pytest.raises(ValidationError, match=next(iter(settings))):
        ExperimentConfig.model_validate({**data, "evaluation": settings})


def test_item_attributes_have_a_name_each() -> None:
    with pytest.raises(ValidationError, match="Received twice: brand"):
        build(item_attributes=[{"name": "brand"}, {"name": "brand"}])


def test_heads_must_divide_the_width() -> None:
    data = build().model_dump()
    data["retrieval"] = {"embedding_dim": 6, "num_heads": 4}
    with pytest.raises(ValidationError, match="num_heads=4, embedding_dim=6"):
        ExperimentConfig.model_validate(data)


def test_schema_follows_the_configuration() -> None:
    config = build(
        event_columns={"timestamp": "time", "event_type": "kind"},
        event_types=["view", "cart"],
        target_event_types=["cart"],
        item_attributes=[{"name": "brand", "column": "Brand"}],
    )
    schema = config.experiment_schema
    assert schema.event_types == ("view", "cart")
    assert schema.target_event_types == ("cart",)
    assert [a.name for a in schema.item_attributes] == ["brand"]
    assert schema.has_timestamps


def test_paths_lie_in_the_run_unless_said_otherwise() -> None:
    config = build()
    assert str(config.run_path) == "runs/shop"
    assert str(config.prepared_path) == "runs/shop/prepared"
    assert str(config.model_path) == "runs/shop/model"
    assert str(build(prepared_dir="elsewhere").prepared_path) == "elsewhere"


def test_every_section_and_every_number_is_described() -> None:
    for name, field in config_fields().items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert (kind.__doc__ or "").strip(), name
        if kind in (int, float):
            assert field.description, f"`{name}` has no description."


def test_a_time_zone_that_is_none_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'Europe/Berlin'"):
        DataConfig(events=TableConfig(paths=("a.csv",)), time_zone="Europe/Berln")


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ({"attention_heads": 3, "attention_dim": 32}, "attention_heads=3"),
        ({"attention_heads": 16, "attention_dim": 32}, "embedding_dim=8"),
        ({"max_history_length": 4}, "Received: 4, retrieval.max_history_length=5"),
    ],
)
def test_ranking_that_does_not_fit_is_refused(ranking: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        experiment(ranking)


@pytest.mark.parametrize("name", ["price", "brnd"])
def test_text_is_read_from_titles_and_attributes_with_words(name: str) -> None:
    attributes = [{"name": "brand"}, {"name": "price", "kind": "numeric"}]
    data = build(item_attributes=attributes).model_dump()
    ExperimentConfig.model_validate({**data, "text": {"fields": ["title", "brand"]}})
    message = rf"text.fields.*Received: '{name}', expected one of \['title', 'brand'\]"
    with pytest.raises(ValidationError, match=message):
        ExperimentConfig.model_validate({**data, "text": {"fields": [name]}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": {"sequence": "single"}}, "Received: sequence=single"),
        ({"data": {"event_columns": {}}}, "`data.event_columns.timestamp` is not set"),
        ({"retrieval": {"use_event_times": False}}, "`retrieval.use_event_times`"),
    ],
)
def test_sessions_of_texts_need_several_texts_and_times(changes, message) -> None:
    data = experiment(None).model_dump()
    data["data"]["split"] = {"protocol": "leave_one_out"}
    data["text"] = {"sequence": "multi", "sequence_unit": "session"}
    ExperimentConfig.model_validate(data)
    for section, values in changes.items():
        data[section] |= values
    with pytest.raises(ValidationError, match=message):
        ExperimentConfig.model_validate(data)


def experiment(ranking: dict | None) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "name": "test",
            "data": {
                "events": {"paths": ["log.csv"]},
                "event_columns": {"timestamp": "time"},
            },
            "retrieval": {"embedding_dim": 8, "max_history_length": 5},
            "ranking": ranking,
        }
    )


def test_ranking_reads_as_much_as_retrieval_unless_it_asks_for_more() -> None:
    assert experiment(None).max_history_length == 5
    assert experiment({}).max_history_length == 5
    assert experiment({"max_history_length": 9}).max_history_length == 9


def test_one_interest_is_the_default_and_more_show_in_the_schema() -> None:
    config = build()
    assert config.retrieval.num_interests == 1
    assert not config.experiment_schema.has_interests
    values = config.model_dump(mode="json")
    values["retrieval"]["num_interests"] = 4
    assert ExperimentConfig.model_validate(values).experiment_schema.has_interests
    values["retrieval"]["num_interests"] = 0
    with pytest.raises(ValidationError, match="num_interests"):
        ExperimentConfig.model_validate(values)


@pytest.mark.parametrize(
    "settings",
    [
        {"encoder": "bert4rec", "num_interests": 2},
        {"encoder": "bert4rec", "regulariser": "duorec"},
        {"num_interests": 2, "regulariser": "icsrec"},
    ],
    ids=str,
)
def test_what_asks_at_masks_or_with_several_vectors_goes_alone(settings):
    with pytest.raises(ValueError, match=r"num_interests.*encoder=|encoder=.*num_int"):
        RetrievalConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("protocol", "chosen", "expected"),
    [("by_time", None, 2), ("leave_one_out", None, 0), ("by_time", 0, 0)],
)
def test_newest_events_are_learned_where_time_is_cut(protocol, chosen, expected):
    config = build(split={"protocol": protocol})
    training = config.training.model_copy(update={"finetune_epochs": chosen})
    config = config.model_copy(update={"training": training})
    assert config.finetune_epochs == expected
