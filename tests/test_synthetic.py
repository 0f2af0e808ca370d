from pathlib import Path

import numpy as np

from tests.synthetic import cycle, make_sequences, noise, write_prepared
from tfrec.schema import AttributeKind, AttributeSpec, Schema


def test_the_next_item_of_the_cycle_is_the_one_after() -> None:
    sequences = cycle(num_items=5, num_users=3, length=7)
    for user in range(3):
        items = sequences.item_index[7 * user : 7 * user + 7] - 2
        np.testing.assert_array_equal(np.diff(items) % 5, np.ones(6))


def test_noise_uses_all_items_about_equally() -> None:
    items = noise(num_items=4, num_users=100, length=10).item_index
    shares = np.bincount(items)[2:] / 1000
    # Four standard deviations of a share of 1/4 over 1,000 draws are 0.055.
    np.testing.assert_allclose(shares, 0.25, atol=0.055)


def test_same_seed_gives_the_same_noise() -> None:
    np.testing.assert_array_equal(noise(seed=3).item_index, noise(seed=3).item_index)
    assert (noise(seed=3).item_index != noise(seed=4).item_index).any()


def test_the_last_two_events_are_validation_and_test() -> None:
    sequences = make_sequences([[0, 1, 2, 3], [1, 2]])
    np.testing.assert_array_equal(sequences.split, [0, 0, 1, 2, 0, 0])


def test_a_written_dataset_reads_back_the_same(tmp_path: Path) -> None:
    schema = Schema(
        event_types=("view", "cart"),
        target_event_types=("cart",),
        item_attributes=(
            AttributeSpec("category", AttributeKind.PATH),
            AttributeSpec("price", AttributeKind.NUMERIC),
        ),
        context=(AttributeSpec("country", AttributeKind.CATEGORICAL),),
    )
    sequences = make_sequences(
        [[0, 1, 2], [2, 2, -1, 0]],
        event_types=[[0, 1, 0], [1, 1, 0, 0]],
        context={"country": np.array([2, 2, 3, 0, 1, 2, 3], np.int32)},
    )
    dataset = write_prepared(
        tmp_path / "prepared",
        sequences,
        num_items=3,
        schema=schema,
        attributes={
            "category": ["home/lamps", "home", None],
            "price": [1.5, None, 3.0],
        },
        context_tokens={"country": ["se", "cn"]},
    )
    read = dataset.load_sequences()
    for name in ("user_ids", "offsets", "item_index", "event_type_index"):
        np.testing.assert_array_equal(getattr(read, name), getattr(sequences, name))
    for name in ("timestamps", "split", "query_text"):
        np.testing.assert_array_equal(getattr(read, name), getattr(sequences, name))
    np.testing.assert_array_equal(read.context["country"], [2, 2, 3, 0, 1, 2, 3])
    vocabulary = dataset.attribute_vocabularies["category"]
    assert vocabulary.tokens == ["home", "home/lamps"]
    np.testing.assert_array_equal(vocabulary.counts, [2, 1])
    # Training holds item 0 of user 0, and item 2 twice of user 1.
    np.testing.assert_array_equal(dataset.item_vocabulary.counts, [1, 0, 2])
    assert dataset.manifest["repeat_share_train"] == 1 / 3
