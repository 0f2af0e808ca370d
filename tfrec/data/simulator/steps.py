"""Shoppers of one chunk, simulated in lock-step: one organic view a step each."""

from dataclasses import dataclass, fields

import numpy as np

from tfrec.data.simulator.births import create_shoppers
from tfrec.data.simulator.choice import (
    NUM_VIEW_DRAWS,
    Branch,
    LatentState,
    Views,
    draw_views,
)
from tfrec.data.simulator.funnel import NUM_FUNNEL_DRAWS, Visits, visit_items
from tfrec.data.simulator.impressions import Lists, show_lists
from tfrec.data.simulator.random_streams import uniforms
from tfrec.data.simulator.returns import (
    NUM_RETURN_DRAWS,
    begin_next_sessions,
    last_view_seconds,
    session_end_probability,
)
from tfrec.data.simulator.rows import (
    CART,
    CLICK,
    IMPRESSION,
    PURCHASE,
    SEARCH,
    VIEW,
    RowBuffer,
)
from tfrec.data.simulator.world import World, query_index

_REPEAT_MATCH = 0.7  # Who returns to an item is at least this interested.
_RESTOCK_MATCH = 3.0  # Who restocks came to buy.
LATER_SEARCH_SHARE = 0.15  # Searches within an intent, relative to its start.
_CLICK_PAUSE_SECONDS = 2  # From a list, or from the visit before, to a click.
_MEAN_PAUSE_SECONDS = 20.0
_MAX_PAUSE_SECONDS = 240.0
_FUNNEL = NUM_VIEW_DRAWS  # First draw of each part of a step.
_SEARCH = _FUNNEL + NUM_FUNNEL_DRAWS
_QUERY = _SEARCH + 1
_LIST = _QUERY + 1
_PAUSE = _LIST + 1
_SESSION_END = _PAUSE + 1
_RETURN = _SESSION_END + 1
_NUM_DRAWS = _RETURN + NUM_RETURN_DRAWS
_NUM_PLACE_DRAWS = 3 + NUM_FUNNEL_DRAWS  # Source, item, click; then the visit.


@dataclass(frozen=True)
class ChunkLog:
    """What a chunk of shoppers left behind.

    Attributes:
        columns: Log rows, by user, then time.
        truth_users: int64 `[num_views]`, by user, then time.
        truth: Latent states of the organic views, in the same order.
    """

    columns: dict[str, np.ndarray]
    truth_users: np.ndarray
    truth: LatentState


def simulate_users(world: World, users: np.ndarray) -> ChunkLog:
    """Simulates some shoppers from their first to their last view.

    Args:
        world: The shop.
        users: int64 `[n]`, user numbers, growing.
    """
    chunk = _Chunk(world, users)
    last = last_view_seconds(world.config)
    while len(chunk.shoppers.user):
        chunk.step()
        stays = chunk.shoppers.time <= last
        if not stays.all():
            chunk.shoppers = chunk.shoppers.take(np.flatnonzero(stays))
    owners = np.concatenate([users for users, _ in chunk.truth])
    states = LatentState(
        *(
            np.concatenate([getattr(state, f.name) for _, state in chunk.truth])
            for f in fields(LatentState)
        )
    )
    order = np.lexsort((states.time, owners))
    return ChunkLog(chunk.rows.finish(), owners[order], states.take(order))


class _Chunk:
    """Shoppers on their way, and what they leave in the log."""

    def __init__(self, world: World, users: np.ndarray) -> None:
        self.world = world
        self.shoppers = create_shoppers(world.config, world.demand, users=users)
        self.rows = RowBuffer()
        self.truth: list[tuple[np.ndarray, LatentState]] = []

    def step(self) -> None:
        """Lets every shopper make one organic view, with what follows from it."""
        config, demand, shoppers = self.world.config, self.world.demand, self.shoppers
        draws = uniforms(shoppers.key, shoppers.step, num_draws=_NUM_DRAWS)
        latent = shoppers.latent(config)
        known = np.flatnonzero(latent.time >= config.truth_start_seconds)
        # `take` copies: the arrays of `latent` change below.
        self.truth.append((shoppers.user[known], latent.take(known)))
        views = draw_views(latent, draws[:NUM_VIEW_DRAWS], demand=demand, config=config)
        shoppers.apply(views, demand)
        visits = self._view(views, draws)
        free = shoppers.time + visits.duration
        shown = np.flatnonzero(draws[_LIST] < config.impression_rate)
        if len(shown):
            free[shown] = self._show(shown, views.item[shown], time=free[shown] + 1)
        self._move_on(free, draws)
        shoppers.step += 1

    def _log(self, event_type: int, rows: np.ndarray, **columns: np.ndarray) -> None:
        shoppers = self.shoppers
        self.rows.append(
            event_type,
            user=shoppers.user[rows],
            session=shoppers.session[rows],
            device=shoppers.device[rows],
            **columns,
        )

    def _view(self, views: Views, draws: np.ndarray) -> Visits:
        """Writes the organic views and what shoppers do on the item pages."""
        config, demand, shoppers = self.world.config, self.world.demand, self.shoppers
        match = demand.match(shoppers.profile, views.item)
        repeats = views.branch == Branch.REPEAT
        match[repeats] = np.maximum(match[repeats], _REPEAT_MATCH)
        match[views.branch == Branch.RESTOCK] = _RESTOCK_MATCH
        funnel = draws[_FUNNEL : _FUNNEL + NUM_FUNNEL_DRAWS]
        visits = visit_items(match, shoppers.device, draws=funnel, config=config)
        share = config.search_probability * np.array(
            [0.0, 0.0, 0.0, LATER_SEARCH_SHARE, 1.0]
        )  # By branch: who follows a link or returns to an item does not search.
        searched = draws[_SEARCH] < share[views.branch]
        everyone = np.arange(len(shoppers.user))
        query = query_index(shoppers.profile, draws[_QUERY], searched)
        if config.log_searches:
            self._search(np.flatnonzero(searched), query)
        self._log(
            VIEW,
            everyone,
            time=shoppers.time,
            item=views.item,
            dwell_seconds=visits.dwell_seconds,
            query=query,
        )
        self._buy(everyone, views.item, begin=shoppers.time, visits=visits)
        return visits

    def _search(self, rows: np.ndarray, query: np.ndarray) -> None:
        """Writes the searches of shoppers `rows`, a second before what they led to.

        Nothing else happens then: a view begins two seconds after the last event, or
        later.
        """
        self._log(
            SEARCH,
            rows,
            time=self.shoppers.time[rows] - 1,
            item=np.full(len(rows), -1),
            query=query[rows],
        )

    def _buy(
        self, rows: np.ndarray, items: np.ndarray, *, begin: np.ndarray, visits: Visits
    ) -> None:
        """Writes carts and purchases of visits, which belong to shoppers `rows`."""
        cart, purchase = np.flatnonzero(visits.cart), np.flatnonzero(visits.purchase)
        self._log(
            CART,
            rows[cart],
            time=begin[cart] + visits.cart_delay[cart],
            item=items[cart],
        )
        self._log(
            PURCHASE,
            rows[purchase],
            time=begin[purchase] + visits.purchase_delay[purchase],
            item=items[purchase],
        )
        demand = self.world.demand
        self.shoppers.put_in_cart(rows[cart], items[cart], demand=demand)
        self.shoppers.purchase(
            rows[purchase],
            items[purchase],
            demand=demand,
            draw=visits.restock_draw[purchase],
        )

    def _show(
        self, rows: np.ndarray, pages: np.ndarray, *, time: np.ndarray
    ) -> np.ndarray:
        """Shows lists to shoppers `rows`; returns when they are free again."""
        config, shoppers = self.world.config, self.shoppers
        length = config.list_length
        draws = uniforms(
            shoppers.key[rows],
            shoppers.step[rows],
            num_draws=_NUM_PLACE_DRAWS * length,
            offset=_NUM_DRAWS,
        )
        lists = show_lists(
            self.world.shelf,
            self.world.demand,
            config=config,
            page_item=pages,
            time=time,
            profile=shoppers.profile[rows],
            favourites=shoppers.favourites[rows],
            draws=draws[: 3 * length],
        )
        number = shoppers.num_lists[rows]
        self._log(
            IMPRESSION,
            rows[lists.row],
            time=time[lists.row],
            item=lists.item,
            position=lists.position,
            list_number=number[lists.row],
            propensity=lists.propensity,
        )
        shoppers.num_lists[rows] += 1
        draws = draws[3 * length :].reshape(NUM_FUNNEL_DRAWS, length, len(rows))
        return self._click(rows, lists, number=number, time=time, draws=draws)

    def _click(
        self,
        rows: np.ndarray,
        lists: Lists,
        *,
        number: np.ndarray,
        time: np.ndarray,
        draws: np.ndarray,
    ) -> np.ndarray:
        """Writes the clicks of lists, one after the other, from the top."""
        shoppers, demand = self.shoppers, self.world.demand
        clicked = np.flatnonzero(lists.clicked)
        row, item = lists.row[clicked], lists.item[clicked]
        position, who = lists.position[clicked], rows[row]
        match = demand.match(shoppers.profile[who], item)
        visits = visit_items(
            match,
            shoppers.device[who],
            draws=draws[:, position - 1, row],
            config=self.world.config,
        )
        begin = time[row] + _turns(row, visits.duration + _CLICK_PAUSE_SECONDS)
        self._log(
            CLICK,
            who,
            time=begin,
            item=item,
            position=position,
            list_number=number[row],
            propensity=lists.propensity[clicked],
            dwell_seconds=visits.dwell_seconds,
        )
        turn = np.arange(len(row)) - np.searchsorted(row, row)
        for place in range(int(turn.max(initial=-1)) + 1):
            now = np.flatnonzero(turn == place)
            shoppers.meet(who[now], item[now], demand=demand)
        self._buy(who, item, begin=begin, visits=visits)
        busy = time.copy()
        busy[row] = begin + visits.duration  # The last of each list stays.
        return busy

    def _move_on(self, free: np.ndarray, draws: np.ndarray) -> None:
        """Sends shoppers to their next view, in this session or a later one."""
        config, shoppers = self.world.config, self.shoppers
        pause = -_MEAN_PAUSE_SECONDS * np.log1p(-draws[_PAUSE])
        pause = 2 + np.minimum(pause, _MAX_PAUSE_SECONDS).astype(np.int64)
        shoppers.time = free + pause
        shoppers.at_session_start[:] = False
        ends = draws[_SESSION_END] < session_end_probability(shoppers, config)
        rows = np.flatnonzero(ends)
        away = draws[_RETURN : _RETURN + NUM_RETURN_DRAWS, rows]
        begin_next_sessions(
            shoppers, rows, draws=away, demand=self.world.demand, config=config
        )


def _turns(row: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Returns int64 `[n]`: seconds after its list at which each click begins.

    Clicks of a list come in order: the next begins when the last is over.
    """
    before = np.cumsum(duration) - duration
    return before - before[np.searchsorted(row, row)] + _CLICK_PAUSE_SECONDS
