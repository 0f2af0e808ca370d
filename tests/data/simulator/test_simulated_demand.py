import numpy as np
import pytest

from tfrec.data.simulator.world import World


def test_profile_weights_prefer_popular_near_and_matching_items(
    tiny_world: World,
) -> None:
    demand, catalogue = tiny_world.demand, tiny_world.catalogue
    config = tiny_world.config
    weights = demand.weight_matrix.toarray()
    for profile in range(len(weights)):
        leaf = profile // config.num_profiles
        items = np.flatnonzero(catalogue.leaf == leaf)
        assert set(np.flatnonzero(weights[profile])) <= set(items)
        assert weights[profile].sum() == pytest.approx(1.0)
        # What is known of the formula without the hidden style explains the rest
        # up to its strength, once the constant of the row is removed.
        level = profile % config.num_profiles % 3
        band = np.quantile(catalogue.log_price[items], (0.2, 0.5, 0.8)[level])
        known = (
            np.log(catalogue.popularity[items])
            - (catalogue.log_price[items] - band) ** 2 / (2 * config.price_sigma**2)
            + config.brand_strength
            * (catalogue.brand[items] == demand.profile_brand[profile])
            + config.colour_strength
            * (catalogue.colour[items] == demand.profile_colour[profile])
        )
        bounded = weights[profile, items] < 1e-5 * weights[profile].max()
        style = (np.log(weights[profile, items]) - known)[~bounded]
        assert np.ptp(style) <= 2 * config.style_strength + 1e-9


def test_only_launched_items_are_drawn_and_related_items_share_the_category(
    tiny_world: World,
) -> None:
    demand, config = tiny_world.demand, tiny_world.config
    rng = np.random.default_rng(0)
    num_draws = 5_000
    profiles = rng.integers(0, config.num_categories * config.num_profiles, num_draws)
    times = rng.integers(config.start_seconds, config.end_seconds, num_draws)
    items = demand.draw_items(profiles, times, draw=rng.random(num_draws))
    assert (demand.launch[items] <= times).all()
    assert (demand.launch[items] > config.start_seconds).any()
    np.testing.assert_array_equal(demand.leaf[items], profiles // config.num_profiles)
    item, place = np.nonzero(demand.related >= 0)
    linked = demand.related[item, place]
    np.testing.assert_array_equal(demand.leaf[linked], demand.leaf[item])
    assert (linked != item).all()


def test_match_is_one_for_the_best_item_and_zero_elsewhere(tiny_world: World) -> None:
    demand = tiny_world.demand
    weights = demand.weight_matrix.toarray()
    profiles = np.arange(len(weights))
    best = weights.argmax(axis=1)
    np.testing.assert_allclose(demand.match(profiles, best), 1.0)
    foreign = (demand.leaf_offsets[demand.leaf[best]] - 1) % demand.num_items
    np.testing.assert_array_equal(demand.match(profiles, foreign), 0.0)
    np.testing.assert_array_equal(demand.match(np.full(3, -1), best[:3]), 0.0)
