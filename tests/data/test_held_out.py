import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic import make_sequences, write_prepared
from tfrec.data.held_out import HeldOutDataset
from tfrec.data.store import TRAIN_COUNT, PreparedDataset


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedDataset:
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 8, n) for n in (6, 3, 9, 5, 7)]
    return write_prepared(tmp_path / "prepared", make_sequences(histories))


def last_by_hash(ids: list[str], number: int) -> set[str]:
    return set(
        sorted(ids, key=lambda i: hashlib.sha256(i.encode()).hexdigest())[-number:]
    )


def test_the_items_whose_hash_sorts_last_are_hidden(prepared):
    ids = prepared.items["item_id"].to_pylist()
    dataset = HeldOutDataset(prepared.path, share=0.3)
    hidden = {ids[place - 2] for place in np.flatnonzero(dataset.is_hidden)}
    assert hidden == last_by_hash(ids, round(0.3 * len(ids)))


def test_hidden_items_have_events_in_the_test_alone_and_no_count(prepared):
    whole = prepared.load_sequences()
    dataset = HeldOutDataset(prepared.path, share=0.3)
    kept = dataset.load_sequences()
    hidden = dataset.is_hidden
    assert not hidden[kept.item_index[kept.split != 2]].any()
    for user in range(whole.num_users):
        events = range(*whole.offsets[user : user + 2])
        expected = [
            whole.item_index[e]
            for e in events
            if whole.split[e] == 2 or not hidden[whole.item_index[e]]
        ]
        own = slice(*kept.offsets[user : user + 2])
        assert kept.item_index[own].tolist() == expected
    counts = dataset.items[TRAIN_COUNT].to_numpy()
    assert not counts[hidden[2:]].any()
    before = prepared.items[TRAIN_COUNT].to_numpy()
    np.testing.assert_array_equal(counts[~hidden[2:]], before[~hidden[2:]])
    assert dataset.item_vocabulary.counts[hidden[2:]].sum() == 0


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_out_of_range_is_refused(prepared, share):
    with pytest.raises(ValueError, match=f"share={share}"):
        HeldOutDataset(prepared.path, share=share)
