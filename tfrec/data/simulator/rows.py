"""Log rows in memory: appended step by step, ordered once, turned into Arrow."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrec.data.simulator.shoppers import DEVICES

EVENT_TYPES = ("impression", "view", "click", "cart", "purchase", "search")
IMPRESSION, VIEW, CLICK, CART, PURCHASE, SEARCH = range(len(EVENT_TYPES))

EVENT_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event_type", pa.string()),
        ("timestamp", pa.int64()),
        ("session_id", pa.string()),
        ("dwell_seconds", pa.float32()),
        ("query", pa.string()),
        ("position", pa.int32()),
        ("impression_id", pa.string()),
        ("propensity", pa.float32()),
        ("price", pa.float64()),
        ("device", pa.string()),
    ]
)
_DTYPES = {
    "user": np.int64, "time": np.int64, "item": np.int32, "event_type": np.int8,
    "session": np.int32, "device": np.int8, "dwell_seconds": np.float32,
    "query": np.int32, "position": np.int32, "list_number": np.int32,
    "propensity": np.float32,
}  # fmt: skip
_MISSING = {
    "dwell_seconds": np.nan, "query": -1, "position": 0, "list_number": -1,
    "propensity": np.nan,
}  # fmt: skip


@dataclass
class RowBuffer:
    """Collects log rows of some shoppers as flat arrays."""

    parts: dict[str, list[np.ndarray]] = field(
        default_factory=lambda: {name: [] for name in _DTYPES}
    )

    def append(self, event_type: int, **columns: np.ndarray) -> None:
        """Adds rows of one type.

        Args:
            event_type: Position in `EVENT_TYPES`.
            **columns: `user`, `time`, `item` (-1 none), `session`, `device`, and of
                `dwell_seconds`, `query` (-1 none), `position` (0 none),
                `list_number` (-1 none), `propensity` that the type has.
        """
        length = len(columns["user"])
        for name, dtype in _DTYPES.items():
            if name == "event_type":
                part = np.full(length, event_type, dtype)
            elif name in columns:
                part = columns[name].astype(dtype)
            else:
                part = np.full(length, _MISSING[name], dtype)
            self.parts[name].append(part)

    def finish(self) -> dict[str, np.ndarray]:
        """Returns all columns, by user, then time, then place in the list."""
        columns = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        # One sort key: 28 bits of user, 30 of seconds, 5 of place. It is unique:
        # only the rows of one list share a time, and they differ in place.
        shown = columns["event_type"] == IMPRESSION
        key = (columns["user"] - columns["user"].min()) << 30
        key = (key | (columns["time"] - columns["time"].min())) << 5
        order = np.argsort(key | (columns["position"] * shown))
        return {name: values[order] for name, values in columns.items()}


@dataclass(frozen=True)
class Labels:
    """What the numbers in the rows stand for."""

    item_ids: pa.Array
    prices: np.ndarray
    queries: pa.Array


def user_names(users: np.ndarray) -> pa.Array:
    """Returns the ids of users, in the spelling of the log."""
    texts = pc.cast(users, pa.string())
    return pc.call_function(
        "binary_join_element_wise", [pa.scalar("u"), texts, pa.scalar("")]
    )


def rows_to_table(columns: dict[str, np.ndarray], labels: Labels) -> pa.Table:
    """Turns ordered rows into the table that is written (`EVENT_SCHEMA`)."""
    users, user_index = _runs(columns["user"])
    names = user_names(pa.array(users))
    listed = columns["list_number"] >= 0
    return pa.table(
        {
            "user_id": _lookup(names, user_index),
            "item_id": _lookup(labels.item_ids, columns["item"]),
            "event_type": _lookup(pa.array(EVENT_TYPES), columns["event_type"]),
            "timestamp": columns["time"],
            "session_id": _numbered(names, user_index, "s", columns["session"]),
            "dwell_seconds": pa.array(columns["dwell_seconds"], from_pandas=True),
            "query": _lookup(labels.queries, columns["query"]),
            "position": pa.array(columns["position"], mask=columns["position"] == 0),
            "impression_id": _numbered(
                names, user_index, "l", np.where(listed, columns["list_number"], -1)
            ),
            "propensity": pa.array(columns["propensity"], from_pandas=True),
            "price": pa.array(labels.prices[columns["item"]], mask=columns["item"] < 0),
            "device": _lookup(pa.array(DEVICES), columns["device"]),
        }
    )


def _lookup(values: pa.Array, index: np.ndarray) -> pa.DictionaryArray:
    """Names each index; -1 is null."""
    indices = pa.array(index.astype(np.int32), mask=index < 0)
    return pa.DictionaryArray.from_arrays(indices, values)


def _numbered(
    names: pa.Array, user_index: np.ndarray, letter: str, number: np.ndarray
) -> pa.DictionaryArray:
    """Returns ids such as `u7-s3`; null where the number is -1.

    Users are in order and numbers grow with time, so equal ids are neighbours.
    """
    present = number >= 0
    keys = (user_index.astype(np.int64) << 32) | number
    distinct, place = _runs(keys[present])
    texts = pc.call_function(
        "binary_join_element_wise",
        [
            names.take(pa.array(distinct >> 32)),
            pc.cast(pa.array(distinct & 0xFFFFFFFF), pa.string()),
            pa.scalar(f"-{letter}"),
        ],
    )
    index = np.full(len(number), -1, np.int64)
    index[present] = place
    return _lookup(texts, index)


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the value of each run of equal neighbours, and each row's run."""
    begins = np.ones(len(values), np.bool_)
    begins[1:] = values[1:] != values[:-1]
    return values[begins], np.cumsum(begins) - 1
