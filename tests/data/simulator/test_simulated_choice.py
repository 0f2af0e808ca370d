import numpy as np
import pytest
from scipy import stats

from tfrec.data.simulator.choice import (
    MET_LENGTH,
    NUM_VIEW_DRAWS,
    LatentState,
    draw_views,
    view_probabilities,
)
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.world import World

DAY = 86_400


def _state(config: SimulatorConfig, *, day: float, **changes: object) -> LatentState:
    """Returns one state with everything switched off but what is given."""
    values: dict[str, object] = {
        "profile": -1,
        "continue_probability": 0.0,
        "last_item": -1,
        "due_item": -1,
        "complement": -1,
        "segment": 5,
        "favourites": [1, 4, 1, 6],
        "met": [],
        **changes,
    }
    met = list(values.pop("met"))  # type: ignore[call-overload]
    time = config.start_seconds + int(day * DAY)
    return LatentState(
        time=np.array([time]),
        met=np.array([met + [-1] * (MET_LENGTH - len(met))], np.int32),
        favourites=np.array([values.pop("favourites")], np.int32),
        **{name: np.array([value]) for name, value in values.items()},
    )


# Leaf 3 has the items leaf_offsets[3] and following; 20 is met twice.
STATES = {
    "nothing said": {"day": 0.0},
    "late in the period": {"day": 29.0},
    "running intent": {
        "day": 12.0, "profile": 19, "continue_probability": 0.8, "last_item": 46,
        "met": [46, 45, 20, 7, 20],
    },
    "everything at once": {
        "day": 20.0, "profile": 2, "continue_probability": 0.5, "last_item": 3,
        "due_item": 9, "complement": 5, "met": [9, 3, 9, 3, 100],
    },
    "complement is a favourite": {"day": 9.0, "complement": 1, "met": [0, 1]},
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_drawn_views_follow_the_probabilities_of_the_oracle(
    tiny_world: World, case: str
) -> None:
    config, demand = tiny_world.config, tiny_world.demand
    state = _state(config, **STATES[case])  # type: ignore[arg-type]
    expected = view_probabilities(state, demand, config=config)[0]
    num_draws = 60_000
    draws = np.random.default_rng(1).random((NUM_VIEW_DRAWS, num_draws))
    states = state.take(np.zeros(num_draws, np.int64))
    items = draw_views(states, draws, demand=demand, config=config).item
    counts = np.bincount(items, minlength=demand.num_items)
    assert counts[expected == 0].sum() == 0
    rare = expected * num_draws < 10  # Pooled: chi-square needs full cells.
    observed = np.append(counts[~rare], counts[rare].sum())
    wanted = np.append(expected[~rare], expected[rare].sum()) * num_draws
    keep = wanted > 0
    assert stats.chisquare(observed[keep], wanted[keep]).pvalue > 1e-4


def test_probabilities_equal_the_formula_summed_in_plain_loops(
    tiny_world: World,
) -> None:
    config, demand, catalogue = (
        tiny_world.config, tiny_world.demand, tiny_world.catalogue,
    )  # fmt: skip
    state = _state(config, **STATES["everything at once"])  # type: ignore[arg-type]
    time, per_leaf = int(state.time[0]), config.num_profiles
    num_items = catalogue.num_items
    launched = [catalogue.launch[i] <= time for i in range(num_items)]
    dense = demand.weight_matrix.toarray()

    def weights_of(profile: int) -> np.ndarray:
        weights = dense[profile] * launched
        return weights / weights.sum()

    restock, rest = config.restock_probability, 1 - config.restock_probability
    repeat, rest = (
        rest * config.repeat_probability,
        rest * (1 - config.repeat_probability),
    )
    expected = np.zeros(num_items)
    expected[9] += restock
    back = np.array([0.75, 0.75**2, 0.75**3, 0.75**4])  # The newest is left out.
    for item, weight in zip([3, 9, 3, 100], back / back.sum(), strict=True):
        expected[item] += repeat * weight
    links = [
        (i, w)
        for i, w in zip(demand.related[3], demand.related_weight[3], strict=True)
        if i >= 0 and launched[i]
    ]
    for item, weight in links:
        share = config.related_probability * weight / sum(w for _, w in links)
        expected[item] += rest * 0.5 * share
    expected += rest * 0.5 * (1 - config.related_probability) * weights_of(2)
    place = 0.7 ** np.arange(4)
    for leaf in range(catalogue.num_leaves):
        liked = sum(
            w
            for w, f in zip(place / place.sum(), [1, 4, 1, 6], strict=True)
            if f == leaf
        )
        explore = config.exploration_probability
        taste = explore * demand.leaf_weight[leaf] + (1 - explore) * liked
        follow = config.complement_probability
        chance = follow * (leaf == 5) + (1 - follow) * taste
        for kind in range(per_leaf):
            share = chance * demand.segment_profile[leaf, 5, kind]
            expected += rest * 0.5 * share * weights_of(leaf * per_leaf + kind)
    result = view_probabilities(state, demand, config=config)[0]
    np.testing.assert_allclose(result, expected, atol=1e-12)
    assert expected.sum() == pytest.approx(1.0)
