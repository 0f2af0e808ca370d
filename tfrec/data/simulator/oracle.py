"""The oracle: a scorer that knows what each shopper has in mind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tfrec.data.simulator.choice import LatentState, view_probabilities
from tfrec.data.simulator.truth import (
    STATES_FILE,
    load_config,
    load_demand,
    load_item_ids,
    load_states,
)
from tfrec.data.store import EventSequences

_BATCH_SIZE = 512  # Queries at once; bounds memory on large catalogues.
_TIME_BITS = 40


class Queries(Protocol):
    """What the oracle reads of evaluation queries."""

    @property
    def user_rows(self) -> np.ndarray:
        """int32 `[num_queries]`: row of the user in the sequences."""
        ...

    @property
    def request_timestamps(self) -> np.ndarray:
        """int64 `[num_queries]`: unix seconds of the next organic view."""
        ...


class Oracle:
    """Scores items by the true probability of the next organic view.

    No model can do better on average with the first *organic view* as the
    target. The search text of that view is not used: it belongs to the event.

    Args:
        truth_dir: The folder `truth` of a simulated shop.
        item_ids: Items of the prepared dataset, in its order: column j of
            the scores is `item_ids[j]`.

    Raises:
        FileNotFoundError: If there is no truth in `truth_dir`.
        ValueError: If an item is not of this shop.
    """

    name = "oracle"

    def __init__(self, truth_dir: Path | str, *, item_ids: Sequence[str]) -> None:
        path = Path(truth_dir)
        if not (path / STATES_FILE).is_file():
            raise FileNotFoundError(
                f"No truth of a simulated shop in '{path}': {STATES_FILE} is missing. "
                "Give the folder `truth` that `python -m tfrec.simulate` wrote."
            )
        self._config = load_config(path)
        self._demand = load_demand(path)
        self._columns = find_items(load_item_ids(path), item_ids, path)
        users, self._states = load_states(path)
        self._user_codes = {
            user: code for code, user in enumerate(users.dictionary.to_pylist())
        }
        keys = _keys(users.indices.to_numpy(), self._states.time)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def score(
        self, sequences: EventSequences, queries: Queries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns the true probability of every item.

        Args:
            sequences: Says which user a query belongs to.
            queries: Says when the next organic view happened.
            rows: int `[n]`, which queries.

        Returns:
            float32 `[n, num_items]`; rows sum to 1 over the items of the shop.

        Raises:
            ValueError: If the truth does not hold a query's user and time.
        """
        states = self.states_of(sequences, queries, rows)
        scores = np.empty((len(rows), len(self._columns)), np.float32)
        for begin in range(0, len(rows), _BATCH_SIZE):
            batch = np.arange(begin, min(begin + _BATCH_SIZE, len(rows)))
            probabilities = view_probabilities(
                states.take(batch), self._demand, config=self._config
            )
            scores[batch] = probabilities[:, self._columns]
        return scores

    def states_of(
        self, sequences: EventSequences, queries: Queries, rows: np.ndarray
    ) -> LatentState:
        """Returns what the shoppers of the queries `rows` have in mind.

        Raises:
            ValueError: If the truth does not hold a query's user and time.
        """
        user_ids = sequences.user_ids[queries.user_rows[rows]]
        times = np.asarray(queries.request_timestamps)[rows].astype(np.int64)
        codes = np.array([self._user_codes.get(u, -1) for u in user_ids], np.int64)
        keys = _keys(codes, times)
        places = np.searchsorted(self._keys, keys)
        places = np.minimum(places, len(self._keys) - 1)
        unknown = np.flatnonzero((self._keys[places] != keys) | (codes < 0))
        if len(unknown):
            first = unknown[0]
            raise ValueError(
                "The truth must hold an organic view for every query's user and "
                f"time. Received: {len(unknown)} of {len(rows)} queries without one, "
                f"the first has user_id={user_ids[first]!r}, "
                f"request_timestamp={times[first]}. Score with `targets=next` on "
                "`target_event_types: [view]`, on data prepared from this shop, and "
                "within its `truth_share` "
                f"(from {self._config.truth_start_seconds} on)."
            )
        return self._states.take(self._order[places])


def _keys(user_codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    return (user_codes.astype(np.int64) << _TIME_BITS) | times


def find_items(
    shop_ids: Sequence[str], item_ids: Sequence[str], path: Path
) -> np.ndarray:
    """Returns int64 `[len(item_ids)]`: place of each item in the shop's tables.

    Raises:
        ValueError: If an item is not of this shop.
    """
    places = {item_id: place for place, item_id in enumerate(shop_ids)}
    unknown = [item_id for item_id in item_ids if item_id not in places]
    if unknown:
        raise ValueError(
            f"`item_ids` must be items of the shop of '{path}'. Received: "
            f"{len(unknown)} others, such as {unknown[:3]}. Was the dataset prepared "
            "from another shop?"
        )
    return np.array([places[item_id] for item_id in item_ids], np.int64)
