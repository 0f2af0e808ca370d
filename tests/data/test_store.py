import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.synthetic import make_sequences, write_prepared
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.schema import AttributeKind, AttributeSpec, Schema

SCHEMA = Schema(
    event_types=("view", "cart"),
    target_event_types=("cart",),
    item_attributes=(AttributeSpec("brand", AttributeKind.CATEGORICAL),),
    context=(
        AttributeSpec("country", AttributeKind.CATEGORICAL),
        AttributeSpec("hour", AttributeKind.NUMERIC),
    ),
)


def some_sequences() -> EventSequences:
    lengths = [3, 1, 5, 2, 4]
    rng = np.random.default_rng(0)
    total = sum(lengths)
    return make_sequences(
        [rng.integers(-1, 8, n) for n in lengths],
        event_types=[rng.integers(0, 2, n) for n in lengths],
        timestamps=[np.cumsum(rng.integers(1, 99, n)) for n in lengths],
        context={
            "country": rng.integers(0, 4, total).astype(np.int32),
            "hour": rng.random(total).astype(np.float32),
        },
    )


def write(path: Path, *, num_shards: int = 3) -> PreparedDataset:
    return write_prepared(
        path,
        some_sequences(),
        schema=SCHEMA,
        attributes={"brand": ["Acme", None, *["Bolt"] * 6]},
        context_tokens={"country": ["de", "fr"]},
        num_shards=num_shards,
    )


def assert_same(found: EventSequences, expected: EventSequences) -> None:
    for name in EventSequences.__dataclass_fields__:
        one, other = getattr(found, name), getattr(expected, name)
        if name == "context":
            assert one.keys() == other.keys()
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=key)
                assert one[key].dtype == other[key].dtype
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)
            assert one.dtype == other.dtype, name


def of_users(sequences: EventSequences, users: list[int]) -> list[list[int]]:
    bounds = sequences.offsets
    return [sequences.item_index[bounds[u] : bounds[u + 1]].tolist() for u in users]


def test_sequences_come_back_as_they_were_written(tmp_path: Path):
    assert_same(write(tmp_path / "prepared").load_sequences(), some_sequences())


@pytest.mark.parametrize("num_workers", [2, 3, 7])
def test_workers_share_the_users_without_loss_or_overlap(
    tmp_path: Path, num_workers: int
):
    dataset = write(tmp_path / "prepared")
    whole = dataset.load_sequences()
    found = {}
    for worker in range(num_workers):
        part = dataset.load_sequences(shard=worker, num_shards=num_workers)
        assert part.offsets[0] == 0
        assert part.offsets[-1] == len(part.item_index) == len(part.context["hour"])
        histories = of_users(part, list(range(part.num_users)))
        for user, history in zip(part.user_ids, histories, strict=True):
            assert user not in found
            found[user] = history
    assert found == dict(
        zip(whole.user_ids, of_users(whole, list(range(5))), strict=True)
    )


def test_number_of_files_changes_nothing(tmp_path: Path):
    one = write(tmp_path / "one", num_shards=1).load_sequences()
    assert_same(write(tmp_path / "five", num_shards=5).load_sequences(), one)


def test_user_rows_repeat_the_user_for_each_event():
    sequences = make_sequences([[0, 1], [], [2, 3, 4]])
    np.testing.assert_array_equal(sequences.user_rows, [0, 0, 2, 2, 2])
    assert sequences.num_users == 3


def test_catalogue_and_vocabularies_are_read(tmp_path: Path):
    dataset = write(tmp_path / "prepared")
    assert dataset.items.column_names[:3] == ["item_id", "title", "train_count"]
    np.testing.assert_array_equal(
        dataset.item_vocabulary.lookup(["item 0", "item 7", "item 8"]), [2, 9, 1]
    )
    vocabularies = dataset.attribute_vocabularies
    # Numbers have no vocabulary.
    assert {name: v.tokens for name, v in vocabularies.items()} == {
        "brand": ["Acme", "Bolt"],
        "country": ["de", "fr"],
    }
    assert dataset.schema == SCHEMA


def test_impressions_are_none_where_there_are_none(tmp_path: Path):
    assert write(tmp_path / "prepared").load_impressions() is None


def test_impressions_of_all_files_are_read(tmp_path: Path):
    dataset = write(tmp_path / "prepared")
    folder = dataset.path / "impressions"
    folder.mkdir()
    lists = {
        "item_index": ([[2, 3], [], [4]], pa.int32()),
        "position": ([[1, 2], [], [0]], pa.int32()),
        "propensity": ([[0.5, 0.25], [], [None]], pa.float32()),
        "event_type_index": ([[0, 3], [], [2]], pa.int32()),
    }
    table = pa.table(
        {
            "user_id": ["user 0", "user 1", "user 0"],
            "timestamp": pa.array([10, 20, 30], pa.int64()),
            "split": pa.array([0, 1, 2], pa.int8()),
            "query": ["", "red lamp", ""],
            "context_country": pa.array([2, 0, 3], pa.int32()),
            "context_hour": pa.array([7.0, None, 0.5], pa.float32()),
            **{k: pa.array(v, pa.list_(t)) for k, (v, t) in lists.items()},
        }
    )
    pq.write_table(table.slice(0, 2), folder / "part-00000.parquet")
    pq.write_table(table.slice(2), folder / "part-00001.parquet")
    shown = dataset.load_impressions()
    assert shown is not None
    assert shown.user_ids.tolist() == ["user 0", "user 1", "user 0"]
    np.testing.assert_array_equal(shown.timestamps, [10, 20, 30])
    np.testing.assert_array_equal(shown.split, [0, 1, 2])
    np.testing.assert_array_equal(shown.offsets, [0, 2, 2, 3])
    np.testing.assert_array_equal(shown.item_index, [2, 3, 4])
    np.testing.assert_array_equal(shown.position, [1, 2, 0])
    np.testing.assert_array_equal(shown.propensity, [0.5, 0.25, np.nan])
    np.testing.assert_array_equal(shown.event_type_index, [0, 3, 2])
    assert shown.query_text.tolist() == ["", "red lamp", ""]
    assert shown.context["country"].tolist() == [2, 0, 3]
    np.testing.assert_array_equal(shown.context["hour"], [7.0, np.nan, 0.5])


def test_unfinished_dataset_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "sequences").mkdir()
    with pytest.raises(FileNotFoundError, match=r"manifest.json.*tfrec.prepare"):
        PreparedDataset(tmp_path)


def test_dataset_of_another_format_is_refused(tmp_path: Path):
    dataset = write(tmp_path / "prepared")
    manifest = dataset.path / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format_version": 99}))
    with pytest.raises(ValueError, match=r"format version 99, expected \d+.*again"):
        PreparedDataset(dataset.path)
