from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import make_config
from tests.training.test_later_events import TYPES, lists_of, shop
from tfrec.config import ExperimentConfig
from tfrec.training.list_sources import mean_log_dwell, prepare_sources
from tfrec.training.ranking_batches import RankingBatches, batch_spec
from tfrec.training.ranking_lists import RankingLists


def configure(path: Path, **ranking: Any) -> ExperimentConfig:
    data = {
        **make_config(path).data.model_dump(),
        "event_types": TYPES,
        "target_event_types": ["view"],
        "head_event_types": TYPES,
        "event_columns": {
            "event_type": "type",
            "timestamp": "time",
            "dwell_seconds": "dwell",
        },
    }
    return make_config(path, data=data, ranking=ranking)


def retrieved(number: int = 3) -> RankingLists:
    return lists_of([[1, 2, 3]] * number, users=[0] * number, ends=[1] * number)


def shown(number: int = 6) -> RankingLists:
    lists = lists_of([[1, 7]] * number, users=[0] * number, ends=[1] * number)
    return replace(
        lists,
        positions=np.array([[1, 2]] * number, np.int32),
        propensities=np.array([[1.0, 0.5]] * number, np.float32),
        history_ends=np.arange(number) % 2 + 1,
    )


def test_by_default_all_lists_are_learned_from(tmp_path):
    first, second = prepare_sources(configure(tmp_path), shop(), [retrieved(), shown()])
    assert (first.num_lists, second.num_lists) == (3, 6)
    for lists in (first, second):
        assert lists.positions is lists.propensities is lists.dwell_seconds is None
        assert (lists.labels == 0).all()


def clicked() -> RankingLists:
    """Shown lists of which one led to a cart."""
    lists = shown()
    lists.labels[0, 1] = [0, 1, 0]
    return lists


def test_retrieved_lists_teach_no_head_that_shown_ones_teach(tmp_path):
    both = prepare_sources(configure(tmp_path), shop(), [retrieved(), clicked()])
    # Nothing was bought through a list. Labels of the target are undefined in shown
    # lists, so all heads may learn from them.
    for lists, taught, number in zip(both, ([1, 0, 1], [1, 1, 1]), (3, 6), strict=True):
        np.testing.assert_array_equal(lists.taught, [taught] * number)
    # What happened is still known: graded relevance reads it.
    np.testing.assert_array_equal(both[0].labels, retrieved().labels)


@pytest.mark.parametrize(
    ("ranking", "lists"),
    [
        ({}, [retrieved()]),
        ({}, [retrieved(), shown()]),  # In which nothing happened.
        ({"impression_share": 0.0}, [retrieved(), clicked()]),
        ({"unshown": "negative"}, [retrieved(), clicked()]),
    ],
)
def test_where_shown_lists_teach_nothing_retrieved_ones_teach_every_head(
    ranking, lists, tmp_path
):
    found = prepare_sources(configure(tmp_path, **ranking), shop(), lists)
    assert [one.taught for one in found] == [None] * len(lists)


def test_where_no_head_is_a_target_retrieved_lists_teach_them_all(tmp_path):
    config = configure(tmp_path)
    data = config.data.model_copy(update={"head_event_types": ("cart", "purchase")})
    config = config.model_copy(update={"data": data})
    lists = [
        replace(one, labels=one.labels[..., 1:]) for one in (retrieved(), clicked())
    ]
    found = prepare_sources(config, shop(), lists)
    assert [one.taught for one in found] == [None, None]
    assert [one.num_lists for one in found] == [3, 6]


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.5, 3), (0.25, 1), (0.9, 6)])
def test_shown_lists_are_at_most_their_share(share, kept, tmp_path):
    config = configure(tmp_path, impression_share=share)
    first, second = prepare_sources(config, shop(), [retrieved(), shown()])
    assert (first.num_lists, second.num_lists) == (3, kept)
    again = prepare_sources(config, shop(), [retrieved(), shown()])[1]
    np.testing.assert_array_equal(again.history_ends, second.history_ends)


def test_false_negatives_are_removed_from_both_origins(tmp_path):
    config = configure(tmp_path, false_negative_days=2.0)
    first, second = prepare_sources(config, shop(), [retrieved(), shown()])
    # Within two days items 1 and 2 are viewed, 3 is not yet in the cart.
    assert first.labels[0, :, 0].tolist() == [-1, -1, 0]
    assert second.labels[0, :, 0].tolist() == [-1, 0]
    assert (first.labels[..., 1:] == 0).all()


def test_lists_without_any_known_outcome_are_left_out(tmp_path):
    some = shown(4)
    some.labels[0] = -1
    some.labels[1, 0] = -1  # The other item of the list is still known ...
    some.labels[2, 0] = -1
    some.candidate_index[2, 1] = 0  # ... but padding has no outcome.
    _, found = prepare_sources(configure(tmp_path), shop(), [retrieved(), some])
    np.testing.assert_array_equal(found.labels, some.labels[[1, 3]])


def test_lists_that_false_negatives_leave_without_an_outcome_are_left_out(tmp_path):
    config = configure(tmp_path, false_negative_days=30.0)
    some = shown(2)
    some.labels[..., 1:] = -1
    some.candidate_index[0, 1] = 0  # Of the first list item 1 is left, which is viewed.
    some.history_ends[:] = 1
    _, found = prepare_sources(config, shop(), [retrieved(), some])
    assert found.candidate_index.tolist() == [[3, 9]]
    assert found.labels[0, :, 0].tolist() == [-1, 0]


def test_places_of_lists_without_a_known_outcome_are_not_learned(tmp_path):
    config = configure(tmp_path, position_bias="examination")
    some = shown()
    some.candidate_index[:] = 0
    with pytest.raises(ValueError, match="known items"):
        prepare_sources(config, shop(), [retrieved(), some])


@pytest.mark.parametrize("bias", ["examination", "propensity"])
def test_batches_of_both_origins_have_the_same_leaves(bias, tmp_path):
    config = configure(tmp_path, position_bias=bias, dwell_weight=1.0)
    sequences = shop()
    sequences.dwell_seconds[:] = 3.0
    sources = prepare_sources(config, sequences, [retrieved(), shown()])
    batches = RankingBatches(
        sequences, sources, max_history_length=3, batch_candidates=50, seed=0
    )
    found = list(batches.epoch(0))
    assert len(found) == 2
    for batch in found:
        spec = tf.nest.map_structure(
            lambda s: s.dtype, batch_spec(sequences, sources[0])
        )
        arrays = tf.nest.map_structure(lambda a: tf.as_dtype(a.dtype), batch)
        assert tf.nest.flatten(arrays) == tf.nest.flatten(spec)
        shape = batch.inputs.candidate_index.shape
        assert batch.dwell_seconds.shape == shape
        is_shown = shape[1] == 2
        if bias == "examination":
            assert batch.propensities == ()
            assert batch.positions[0].tolist() == ([1, 2] if is_shown else [0, 0, 0])
        else:
            assert batch.positions == ()
            np.testing.assert_array_equal(
                batch.propensities[0], [1.0, 0.5] if is_shown else [np.nan] * 3
            )


@pytest.mark.parametrize("unknown_propensity", [np.nan, 0.0])
@pytest.mark.parametrize(
    ("bias", "column"), [("examination", "position"), ("propensity", "propensity")]
)
def test_a_bias_that_the_log_does_not_tell_is_an_error(
    bias, column, unknown_propensity, tmp_path
):
    config = configure(tmp_path, position_bias=bias)
    match = rf"position_bias={bias}.*event_columns\.{column}"
    with pytest.raises(ValueError, match=match):
        prepare_sources(config, shop(), [retrieved()])
    unknown = replace(
        shown(),
        positions=np.zeros((6, 2), np.int32),
        propensities=np.full((6, 2), unknown_propensity, np.float32),
    )
    with pytest.raises(ValueError, match=match):
        prepare_sources(config, shop(), [retrieved(), unknown])


def test_prediction_of_dwell_starts_from_the_mean_logarithm(tmp_path):
    config = configure(tmp_path, dwell_weight=1.0)
    sequences = shop()
    sequences.dwell_seconds[1:3] = [4.0, 9.0]  # Of the items 1 and 2.
    sources = prepare_sources(config, sequences, [retrieved(1)])
    assert mean_log_dwell(sources) == pytest.approx((np.log(5) + np.log(10)) / 2)
    nothing = prepare_sources(config, shop(), [retrieved(1)])
    with pytest.raises(ValueError, match="dwell_weight.*known dwell"):
        mean_log_dwell(nothing)
