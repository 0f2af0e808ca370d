"""What a simulated shop knows of its lists: how much each item would interest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfrec.data.simulator.impressions import interest
from tfrec.data.simulator.truth import load_demand, load_item_ids, load_states
from tfrec.data.store import Impressions
from tfrec.schema import NUM_SPECIAL_INDICES

BID = "bid"  # Attribute: what is paid for a click on an item.
_TIME_BITS = 40


class ClickTruth:
    """The true chance that an examined item of a list is clicked.

        P(click on i at place p) = P(p is examined) · interest(i | intent, favourites)

    The truth holds the state before every organic view. A list is shown between two
    of them: an intent changes only with a view, favourites only between sessions. So
    the intent is that of the view after the list, and the favourites are those of the
    view before it. Lists after a shopper's last view are not known.

    Args:
        truth_dir: The folder `truth` of a simulated shop.
        item_ids: Items of the prepared dataset, in its order.
    """

    def __init__(self, truth_dir: Path, *, item_ids: Sequence[str]) -> None:
        path = Path(truth_dir)
        self._demand = load_demand(path)
        places = {item: place for place, item in enumerate(load_item_ids(path))}
        self._place = np.array([places[item] for item in item_ids])
        users, self._states = load_states(path)
        names = users.dictionary.to_pylist()
        self._codes = {user: code for code, user in enumerate(names)}
        keys = _keys(users.indices.to_numpy(), self._states.time)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def known(self, user_ids: np.ndarray, timestamps: np.ndarray) -> np.ndarray:
        """Returns bool `[num_lists]`: is there a view before and after the list?"""
        return self._views(user_ids, timestamps)[2]

    def interest(
        self, user_ids: np.ndarray, timestamps: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """Returns float64 `[num_lists, num_candidates]`, 0 for padding.

        Args:
            user_ids: object `[num_lists]`.
            timestamps: int64 `[num_lists]`, when the list was shown.
            items: int `[num_lists, num_candidates]`, item indices.

        Raises:
            ValueError: If a list is not known.
        """
        before, after, known = self._views(user_ids, timestamps)
        if not known.all():
            raise ValueError(
                "The truth must hold the shopper's views before and after every list. "
                f"Received: {int((~known).sum())} of {len(known)} lists without. Leave "
                "out lists that are not `known`."
            )
        real = items >= NUM_SPECIAL_INDICES
        place = self._place[np.where(real, items - NUM_SPECIAL_INDICES, 0)]
        width = items.shape[1]
        chance = interest(
            self._demand,
            place.ravel(),
            profile=np.repeat(self._states.profile[after], width),
            favourites=np.repeat(self._states.favourites[before], width, axis=0),
        )
        return np.where(real, chance.reshape(items.shape), 0.0)

    def _views(
        self, user_ids: np.ndarray, timestamps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the states before and after each list, and whether both exist."""
        codes = np.array([self._codes.get(u, -1) for u in user_ids], np.int64)
        after = np.searchsorted(self._keys, _keys(codes, timestamps), side="right")
        owner = self._keys >> _TIME_BITS
        last = len(owner) - 1
        known = (after > 0) & (after <= last)
        known &= (owner[np.minimum(after, last)] == codes) & (codes >= 0)
        known &= owner[np.maximum(after - 1, 0)] == codes
        before, after = np.maximum(after - 1, 0), np.minimum(after, last)
        return self._order[before], self._order[after], known


def take_lists(impressions: Impressions, lists: np.ndarray) -> Impressions:
    """Returns some of the lists."""
    lengths = np.diff(impressions.offsets)[lists]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shown = np.arange(offsets[-1]) + np.repeat(
        impressions.offsets[lists] - offsets[:-1], lengths
    )
    return Impressions(
        impressions.user_ids[lists],
        impressions.timestamps[lists],
        impressions.split[lists],
        offsets,
        impressions.item_index[shown],
        impressions.position[shown],
        impressions.propensity[shown],
        impressions.event_type_index[shown],
        impressions.query_text[lists],
        {name: values[lists] for name, values in impressions.context.items()},
    )


def examine_everything(
    impressions: Impressions, truth: ClickTruth, *, click_index: int, seed: int
) -> Impressions:
    """Draws the clicks anew, as if shoppers looked at every place of every list.

    Args:
        impressions: Lists that the truth knows.
        truth: Of the shop.
        click_index: Event type index of a click.
        seed: Of the draws.
    """
    lengths = np.diff(impressions.offsets)
    chance = truth.interest(
        np.repeat(impressions.user_ids, lengths),
        np.repeat(impressions.timestamps, lengths),
        impressions.item_index[:, np.newaxis],
    )[:, 0]
    clicked = np.random.default_rng([seed, 4]).random(len(chance)) < chance
    outcome = np.where(clicked, click_index, 0).astype(np.int32)
    everything = np.ones_like(impressions.propensity)
    return replace(impressions, event_type_index=outcome, propensity=everything)


def _keys(user_codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    return (user_codes.astype(np.int64) << _TIME_BITS) | times.astype(np.int64)
