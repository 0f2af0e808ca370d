from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig, RankingConfig

TYPES = ["view", "cart", "purchase"]


def configure(*, dwell: str | None = None, **ranking: Any) -> ExperimentConfig:
    data = {
        **make_config(Path()).data.model_dump(),
        "event_types": TYPES,
        "target_event_types": ["view"],
        "head_event_types": ["view", "purchase"],
        "event_columns": {
            "event_type": "type",
            "timestamp": "time",
            "dwell_seconds": dwell,
        },
    }
    return make_config(Path(), data=data, ranking=ranking)


def test_defaults_are_one_shared_bottom_with_pointwise_and_listwise_loss():
    config = RankingConfig()
    assert (config.task_layers, config.task_dims, config.funnel) == (
        "shared_bottom",
        (),
        (),
    )
    assert (config.pointwise_weight, config.listwise_weight) == (1.0, 1.0)
    others = (config.pairwise_weight, config.listmle_weight, config.novel_weight)
    assert others == (0.0, 0.0, 0.0)
    assert config.dwell_weight == config.false_negative_days == 0.0
    assert config.position_bias == "none"


@pytest.mark.parametrize(
    "settings",
    [
        {"funnel": ["view", "cart"]},
        {"event_gains": {"cart": 2.0}},
        {"loss_weights": {"cart": 2.0}},
        {"head_weights": {"cart": 2.0}},
    ],
)
def test_types_without_a_head_are_named(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=rf"ranking\.{name}.*\['cart'\]"):
        configure(**settings)


@pytest.mark.parametrize("funnel", [["purchase", "view"], ["view"], ["view", "view"]])
def test_a_funnel_is_at_least_two_types_weakest_first(funnel):
    with pytest.raises(ValueError, match="weakest first"):
        configure(funnel=funnel)
    assert configure(funnel=["view", "purchase"]).ranking is not None


@pytest.mark.parametrize("heads", [[], ["purchase", "cart"]])
@pytest.mark.parametrize("bias", ["examination", "propensity"])
def test_places_need_a_head_that_shown_lists_teach(bias: str, heads: list[str]):
    targets = {"target_event_types": ["cart", "purchase"], "head_event_types": heads}
    data = {**configure().data.model_dump(), **targets}
    match = rf"position_bias={bias}.*'purchase'.*no target"
    with pytest.raises(ValueError, match=match):
        make_config(Path(), data=data, ranking={"position_bias": bias})
    assert make_config(Path(), data=data).experiment_schema.shown_head_types == ()
    config = configure(position_bias=bias)
    assert config.experiment_schema.shown_head_types == ("purchase",)


def test_losses_that_all_weigh_nothing_are_an_error():
    with pytest.raises(ValueError, match="above 0"):
        RankingConfig(pointwise_weight=0.0, listwise_weight=0.0)
    assert RankingConfig(pointwise_weight=0.0, listwise_weight=0.0, listmle_weight=1.0)


def test_negative_weights_are_an_error():
    with pytest.raises(ValueError, match=r"loss_weights.*negative.*-1"):
        RankingConfig.model_validate({"loss_weights": {"view": -1.0}})


@pytest.mark.parametrize("gain", [0.0, -1.0])
def test_gains_are_above_0(gain):
    match = rf"event_gains` must be above 0.*'view': {gain}.*loss_weights"
    with pytest.raises(ValueError, match=match):
        RankingConfig.model_validate({"event_gains": {"view": gain}})


def test_loss_weights_that_leave_no_head_a_loss_are_an_error():
    with pytest.raises(ValueError, match=r"loss_weights` must be above 0.*'purchase'"):
        configure(loss_weights={"view": 0.0, "purchase": 0.0})
    assert configure(loss_weights={"purchase": 0.0}).ranking is not None


def test_gains_without_a_loss_of_order_are_an_error():
    settings: dict[str, Any] = {"event_gains": {"purchase": 2.0}}
    with pytest.raises(ValueError, match=r"event_gains` grades.*listmle_weight"):
        configure(**settings, listwise_weight=0.0)
    assert configure(**settings).ranking is not None
    assert configure(**settings, listwise_weight=0.0, novel_weight=1.0).ranking


def test_dwell_can_be_predicted_only_where_it_is_logged():
    with pytest.raises(ValueError, match=r"event_columns\.dwell_seconds"):
        configure(dwell_weight=0.5)
    assert configure(dwell="seconds", dwell_weight=0.5).experiment_schema.has_dwell
    assert not configure(dwell="seconds").experiment_schema.has_dwell


@pytest.mark.parametrize(
    "settings",
    [
        {"head_weights": {"view": float("nan")}},
        {"loss_weights": {"view": float("nan")}},
        {"event_gains": {"view": float("inf")}},
        {"listwise_weight": float("inf")},
        {"false_negative_days": float("nan")},
        {"hidden_dims": [0]},
        {"task_dims": [-1]},
    ],
)
def test_numbers_that_nothing_can_be_computed_with_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        configure(**settings)


def test_an_order_by_nothing_is_an_error():
    with pytest.raises(ValueError, match="all items are alike.*'view': 0"):
        configure(head_weights={"view": 0.0})
    assert configure(head_weights={"view": 0.0, "purchase": 1.0}).ranking is not None


def test_layers_of_tasks_need_a_place():
    both: list[dict[str, Any]] = [{"task_layers": "mmoe"}, {"task_dims": [4]}]
    for settings in both:
        with pytest.raises(ValueError, match="additive.*task_layers=.*task_dims="):
            configure(fusion="additive", **settings)
    with pytest.raises(ValueError, match="ple` needs `hidden_dims`"):
        configure(task_layers="ple", hidden_dims=[])


def test_heads_of_one_name_in_formulas_are_an_error():
    data = configure().data.model_dump()
    data |= {"event_types": ["view", "add-to-cart", "add_to_cart"]}
    data |= {"head_event_types": data["event_types"]}
    with pytest.raises(ValueError, match="a name for each head.*add-to-cart"):
        make_config(Path(), data=data, ranking={})


def test_later_events_need_times():
    assert configure(false_negative_days=7.0).ranking is not None
    data = {**configure().data.model_dump(), "split": {"protocol": "leave_one_out"}}
    data["event_columns"] = {**data["event_columns"], "timestamp": None}
    with pytest.raises(ValueError, match=r"false_negative_days.*columns\.timestamp"):
        make_config(Path(), data=data, ranking={"false_negative_days": 7.0})
