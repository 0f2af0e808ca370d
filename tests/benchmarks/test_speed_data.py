from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.speed_data import (
    check_comparable,
    expected_targets,
    history_lengths,
    ids_alone,
    make_shapes,
    max_prefixes,
    training_events,
    write_events,
)
from tfrec.config import ExperimentConfig
from tfrec.data.store import TEST, TRAIN, VALIDATION, EventSequences


def make_config(**changes: Any) -> ExperimentConfig:
    data: dict[str, Any] = {"split": {"protocol": "leave_one_out"}}
    data |= {"events": {"paths": ["e.csv"]}, "event_types": ["view"]}
    data |= changes.pop("data", {})
    return ExperimentConfig.model_validate({"name": "small", "data": data, **changes})


def sequences() -> EventSequences:
    """Three users: three, one and two training events; one item is not known."""
    item_index = np.array([5, 2, 5, 3, 4, 1, 6, 6, 7], np.int32)
    split = np.array([TRAIN] * 3 + [VALIDATION] + [TRAIN] * 4 + [TEST], np.int8)
    count = len(item_index)
    return EventSequences(
        user_ids=np.array(["a", "b", "c"], object),
        offsets=np.array([0, 4, 5, 9]),
        item_index=item_index,
        event_type_index=np.full(count, 2, np.int32),
        timestamps=np.zeros(count, np.int64),
        dwell_seconds=np.zeros(count, np.float32),
        session_index=np.zeros(count, np.int32),
        split=split,
        query_text=np.full(count, "", object),
        context={},
    )


def builder(weights: np.ndarray | None = None) -> Any:
    found = sequences()
    learned = (found.split == TRAIN) & (found.item_index > 1)
    if weights is None:
        weights = learned.astype(np.float32)
    targets = SimpleNamespace(weights=weights)
    return SimpleNamespace(sequences=found, targets=targets, num_batches=lambda: 2)


def test_rivals_learn_from_known_items_of_the_training_split() -> None:
    chosen = training_events(builder())
    assert chosen.tolist() == [True] * 3 + [False, True, False, True, True, False]


def test_events_that_ours_does_not_learn_from_are_refused() -> None:
    weights = np.ones(9, np.float32)
    weights[[1, 6]] = 0.0
    with pytest.raises(ValueError, match=r"2 of 6 that are none.*target_event_types"):
        training_events(builder(weights))


def test_file_holds_users_items_and_places_in_order(tmp_path: Path) -> None:
    path = write_events(tmp_path, sequences(), training_events(builder()))
    assert path == tmp_path / "events" / "events.inter"
    assert path.read_text().splitlines() == [
        "user_id:token\titem_id:token\ttimestamp:float",
        *("0\t5\t0", "0\t2\t1", "0\t5\t2"),
        "1\t4\t0",
        *("2\t6\t0", "2\t6\t1"),
    ]


def test_file_without_events_has_a_header_alone(tmp_path: Path) -> None:
    path = write_events(tmp_path, sequences(), np.zeros(9, bool))
    assert path.read_text().splitlines()[1:] == []


def test_lengths_are_of_users_with_training_events_only() -> None:
    chosen = training_events(builder())
    assert history_lengths(sequences(), chosen).tolist() == [3, 1, 2]
    chosen[4] = False
    assert history_lengths(sequences(), chosen).tolist() == [3, 2]


def test_targets_are_counted_as_each_library_learns_them() -> None:
    lengths, max_length = [1, 2, 5, 9], 4
    ours = prefixes = positions = 0
    for length in lengths:
        history = list(range(length))
        ours += len(history)
        prefixes += len([history[:i] for i in range(1, length)])
        kept = history[-(max_length + 1) :]
        positions += len(list(zip(kept[:-1], kept[1:], strict=True)))
    found = expected_targets(np.array(lengths), max_length)
    assert found == {"tfrec": ours, "recbole": prefixes, "rectools": positions}
    assert (ours, prefixes, positions) == (17, 13, 9)


def test_batches_of_all_hold_about_as_many_targets(tmp_path: Path) -> None:
    config = make_config()
    shapes = make_shapes(config, builder(), tmp_path)
    assert shapes.batch_targets == 3  # 6 targets in 2 batches.
    # Histories of two events or more have 1.5 targets: two hold three.
    assert shapes.batch_histories == 2
    assert shapes.max_history_length == config.retrieval.max_history_length
    assert Path(shapes.events).is_file()


def test_rows_of_recbole_stay_within_memory(tmp_path: Path) -> None:
    shapes = make_shapes(make_config(), builder(), tmp_path)
    assert shapes.batch_prefixes == shapes.batch_targets
    long = {"max_history_length": 200, "num_layers": 2, "num_heads": 2}
    retrieval = make_config(retrieval=long).retrieval
    # Attention alone: six fp32 matrices a head and block are 3.84 MB a row.
    assert 100 < max_prefixes(retrieval) < 4e9 / 3.84e6


def test_longer_batches_never_get_less_than_one_history(tmp_path: Path) -> None:
    many = builder()
    many.num_batches = lambda: 6
    assert make_shapes(make_config(), many, tmp_path).batch_histories == 1


@pytest.mark.parametrize(("field", "value"), [("encoder", "gru"), ("loss", "gbce")])
def test_other_models_are_refused_with_the_way_out(field: str, value: str) -> None:
    config = make_config()
    check_comparable(config)
    retrieval = config.retrieval.model_copy(update={field: value})
    with pytest.raises(ValueError, match=rf"Received: '{value}'.*--retrieval.{field} "):
        check_comparable(config.model_copy(update={"retrieval": retrieval}))


def test_texts_are_refused_since_rivals_read_ids() -> None:
    catalogue = {"items": {"paths": ["i.csv"]}, "item_columns": {"title": "t"}}
    config = make_config(text={}, data=catalogue)
    with pytest.raises(ValueError, match="`text` must be left out"):
        check_comparable(config)


def test_ids_alone_is_what_rivals_train_and_else_the_same() -> None:
    catalogue = {"items": {"paths": ["i.csv"]}}
    data = {"item_attributes": [{"name": "brand", "kind": "categorical"}]}
    config = make_config(data={**catalogue, **data}, retrieval={"transitions": True})
    plain = ids_alone(config)
    assert plain.data.item_attributes == ()
    # Nor does it count what came next: rivals do not.
    assert not plain.retrieval.transitions
    kept = {"transitions": config.retrieval.transitions}
    assert plain.retrieval.model_copy(update=kept) == config.retrieval
