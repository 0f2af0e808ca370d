"""Lists to learn ranking from: retrieved candidates, and real impressions.

Queries are the targets of the *validation* split. The retrieval model was fitted
to the training targets, so its scores of those are better than it can do on
anything new, and a ranking model would learn to trust them too much.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from rich.progress import track

from tfrec.config import ExperimentConfig
from tfrec.data.histories import gather_requests
from tfrec.data.store import VALIDATION, EventSequences, Impressions
from tfrec.data.windows import places_in_basket
from tfrec.evaluation.model_scorers import (
    search_vectors,
    spec_of,
    with_history_text,
)
from tfrec.features.request import Request, request_of
from tfrec.models.ranking_model import UNDEFINED_LABEL
from tfrec.models.recommender import TrainedRecommender
from tfrec.schema import NUM_SPECIAL_INDICES, Schema
from tfrec.training.input import are_baskets_unordered
from tfrec.training.list_context import warn_of_unknown_context
from tfrec.training.ranking_lists import RankingLists

BATCH_SIZE = 256


@dataclass(frozen=True)
class _Requests:
    """Whose history, up to where, asked when, and the events that answer."""

    user_rows: np.ndarray
    history_ends: np.ndarray
    timestamps: np.ndarray
    context: dict[str, np.ndarray]
    query_text: np.ndarray  # object [num_requests] of str
    events: np.ndarray  # int64 [num_answers]: target events,
    request_of_event: np.ndarray  # and the request each answers.


def mine_candidates(
    config: ExperimentConfig,
    sequences: EventSequences,
    recommender: TrainedRecommender,
    *,
    split: int = VALIDATION,
    max_lists: int | None = None,
) -> RankingLists:
    """Retrieves candidates for the targets of a split and labels them.

    A label of a target event type is 1 for the item of the query's own targets of
    exactly this type: such heads exclude one another. One of another type is 1 if an
    event of the type, or a stronger one, follows on the item later in the same session,
    as it is of lists that were shown. Events of a later split are never looked at. At
    most `max_lists` requests, drawn by seed; None:
    `ranking.max_training_queries`.
    """
    schema = config.experiment_schema
    limit = config.ranking.max_training_queries if config.ranking else 1
    requests = _requests(
        config, sequences, schema, split=split, limit=max_lists or limit
    )
    embeddings, scores, candidates = _retrieve(
        sequences, recommender, requests, exclude_seen=config.evaluation.exclude_seen
    )
    relevant = np.zeros(candidates.shape, bool)
    answers = sequences.item_index[requests.events]
    _mark(relevant, candidates, requests.request_of_event, answers)
    labels = _labels(schema, sequences, requests, candidates, split=split)
    distinct = np.unique(np.stack([requests.request_of_event, answers], axis=1), axis=0)
    return RankingLists(
        requests.user_rows,
        requests.history_ends,
        requests.timestamps,
        requests.context,
        candidates,
        labels,
        embeddings,
        scores,
        relevant,
        np.bincount(distinct[:, 0], minlength=len(candidates)).astype(np.int32),
    )


def impression_lists(
    config: ExperimentConfig,
    sequences: EventSequences,
    impressions: Impressions,
    recommender: TrainedRecommender,
    *,
    split: int = VALIDATION,
    max_lists: int | None = None,
) -> RankingLists:
    """Turns the impression lists of a split into ranking lists.

    A label is 1 if an event of the head's type, or a stronger one, followed
    through the list. Types that retrieval predicts happen without impressions;
    their labels are undefined here. At most `max_lists`, drawn by seed.
    """
    schema = config.experiment_schema
    lists = np.flatnonzero(impressions.split == split)
    if max_lists is not None and len(lists) > max_lists:
        rng = np.random.default_rng(config.seed)
        lists = np.sort(rng.choice(lists, max_lists, replace=False))
    row_of_user = {user: row for row, user in enumerate(sequences.user_ids)}
    rows = np.array([row_of_user.get(u, -1) for u in impressions.user_ids[lists]])
    lists, rows = lists[rows >= 0], rows[rows >= 0].astype(np.int32)
    times = impressions.timestamps[lists]
    context = {name: values[lists] for name, values in impressions.context.items()}
    warn_of_unknown_context(context, sequences.context)
    requests = _Requests(
        rows,
        _events_before(sequences, rows, times),
        times,
        context,
        impressions.query_text[lists],
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
    )
    starts, stops = impressions.offsets[lists], impressions.offsets[lists + 1]
    width = config.ranking.num_candidates if config.ranking else 1
    place = np.arange(min(width, int((stops - starts).max(initial=1))))
    real = place < (stops - starts)[:, None]
    shown = np.where(real, starts[:, None] + place, 0)
    candidates = np.where(real, impressions.item_index[shown], 0)
    candidates[candidates < NUM_SPECIAL_INDICES] = 0
    outcome = np.where(real, impressions.event_type_index[shown], 0)
    embeddings, scores, _ = _retrieve(
        sequences, recommender, requests, candidates=candidates
    )
    return RankingLists(
        requests.user_rows,
        requests.history_ends,
        requests.timestamps,
        requests.context,
        candidates,
        _impression_labels(schema, outcome),
        embeddings,
        scores,
        np.zeros(candidates.shape, bool),
        np.zeros(len(rows), np.int32),
        np.where(real, impressions.position[shown], 0).astype(np.int32),
        np.where(real, impressions.propensity[shown], np.nan).astype(np.float32),
    )


def _impression_labels(schema: Schema, outcome: np.ndarray) -> np.ndarray:
    """Labels `[num_lists, num_candidates, num_heads]` of what followed, as types."""
    heads = schema.head_event_types or schema.target_event_types
    labels = np.full((*outcome.shape, len(heads)), UNDEFINED_LABEL, np.int8)
    for h, head in enumerate(heads):
        if head in schema.shown_head_types:
            labels[..., h] = outcome >= schema.event_type_index(head)
    return labels


def _requests(
    config: ExperimentConfig,
    sequences: EventSequences,
    schema: Schema,
    *,
    split: int,
    limit: int,
) -> _Requests:
    """One request a target event, or a basket of simultaneous ones."""
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    is_target = sequences.split == split
    is_target &= np.isin(sequences.event_type_index, types)
    events = np.flatnonzero(is_target)
    ends = events
    if are_baskets_unordered(config, sequences):
        ends = events - places_in_basket(sequences)[events]
    history_ends, request_of_event = np.unique(ends, return_inverse=True)
    if len(history_ends) > limit:
        rng = np.random.default_rng(config.seed)
        kept = np.sort(rng.permutation(len(history_ends))[:limit])
        place = np.full(len(history_ends), -1)
        place[kept] = np.arange(limit)
        request_of_event = place[request_of_event]
        events = events[request_of_event >= 0]
        request_of_event = request_of_event[request_of_event >= 0]
        history_ends = history_ends[kept]
    return _Requests(
        sequences.user_rows[history_ends],
        history_ends,
        sequences.timestamps[history_ends],
        {k: v[history_ends] for k, v in sequences.context.items()},
        _some_searches(config, sequences.query_text[history_ends]),
        events,
        request_of_event,
    )


def _some_searches(config: ExperimentConfig, texts: np.ndarray) -> np.ndarray:
    """Hides some searches, so that ranking learns to do without, too."""
    rng = np.random.default_rng([config.seed, 1])
    hidden = rng.random(len(texts)) < config.retrieval.query_text_dropout
    return np.where(hidden, "", texts)


def _events_before(
    sequences: EventSequences, user_rows: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Returns per request the end of the user's events before its time."""
    ends = np.empty(len(user_rows), np.int64)
    for i, (user, time) in enumerate(zip(user_rows, times, strict=True)):
        start, stop = sequences.offsets[user : user + 2]
        ends[i] = start + np.searchsorted(sequences.timestamps[start:stop], time)
    return ends


def _retrieve(
    sequences: EventSequences,
    recommender: TrainedRecommender,
    requests: _Requests,
    *,
    exclude_seen: bool = False,
    candidates: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns query embeddings, scores and candidates; given ones are only scored."""
    k = min(recommender.num_candidates, recommender.num_items)

    spec = spec_of(recommender, requests.context, searches=True)

    @tf.function(input_signature=[spec], autograph=False)
    def encode(request: Request) -> tuple[tf.Tensor, tf.Tensor]:
        encoded = recommender.encode(request)
        return encoded.embeddings, recommender.scores_of(encoded)

    # Empty ones first: there may be no request at all.
    settings = recommender.retrieval.settings
    interests = (settings.num_interests,) if settings.num_interests > 1 else ()
    embeddings = [np.zeros((0, *interests, settings.embedding_dim), np.float32)]
    kept_scores = [np.zeros((0, k), np.float32)]
    kept = [np.zeros((0, k), np.int32)]
    if candidates is not None:
        kept_scores = [np.zeros((0, candidates.shape[1]), np.float32)]
    starts = range(0, len(requests.user_rows), BATCH_SIZE)
    for start in track(starts, "Mine candidates", transient=True):
        rows = slice(start, start + BATCH_SIZE)
        arrays = gather_requests(
            sequences,
            requests.user_rows[rows],
            requests.history_ends[rows],
            request_timestamps=requests.timestamps[rows],
            context={name: v[rows] for name, v in requests.context.items()},
            max_history_length=recommender.max_history_length,
            query_text=search_vectors(recommender, requests.query_text[rows]),
            search_type_index=recommender.search_type_index,
        )
        arrays = with_history_text(recommender, arrays)
        embedding, scores = encode(request_of(arrays))
        if candidates is None:
            pool = scores.numpy()
            if exclude_seen:
                pool = _hide(pool, arrays.item_index)
            top, column = tf.math.top_k(pool, k)
            kept_scores.append(np.maximum(top.numpy(), np.float32(-1e4)))
            kept.append(column.numpy() + NUM_SPECIAL_INDICES)
        else:
            column = np.maximum(candidates[rows] - NUM_SPECIAL_INDICES, 0)
            kept_scores.append(np.take_along_axis(scores.numpy(), column, axis=1))
        embeddings.append(embedding.numpy())
    found = np.concatenate(kept) if candidates is None else candidates
    return np.concatenate(embeddings), np.concatenate(kept_scores), found


def _hide(scores: np.ndarray, item_index: np.ndarray) -> np.ndarray:
    """Returns the scores `[num_rows, num_items]` with -inf at a row's items."""
    column = np.where(item_index > 1, item_index - NUM_SPECIAL_INDICES, -1)
    padded = np.pad(scores, [(0, 0), (0, 1)])  # A column for "no item".
    np.put_along_axis(padded, column, -np.inf, axis=1)
    return padded[:, :-1]


def _mark(
    target: np.ndarray, candidates: np.ndarray, rows: np.ndarray, items: np.ndarray
) -> None:
    """Sets `target[row, place]` where the row's candidate is the item."""
    known = items >= NUM_SPECIAL_INDICES
    rows, items = rows[known], items[known]
    for start in range(0, len(rows), 100_000):  # Bounds the comparison's memory.
        part = slice(start, start + 100_000)
        pair, place = np.nonzero(candidates[rows[part]] == items[part, None])
        target[rows[part][pair], place] = True


def _labels(
    schema: Schema,
    sequences: EventSequences,
    requests: _Requests,
    candidates: np.ndarray,
    *,
    split: int,
) -> np.ndarray:
    heads = schema.head_event_types or schema.target_event_types
    labels = np.zeros((*candidates.shape, len(heads)), np.int8)
    request, event = _rest_of_session(sequences, requests.history_ends)
    known = sequences.split[event] <= split  # Leave-one-out parts sessions.
    request, event = request[known], event[known]
    for h, head in enumerate(heads):
        index = schema.event_type_index(head)
        if head in schema.shown_head_types:
            rows, events = request, event
            chosen = sequences.event_type_index[events] >= index
        else:
            rows, events = requests.request_of_event, requests.events
            chosen = sequences.event_type_index[events] == index
        happened = np.zeros(candidates.shape, bool)
        items = sequences.item_index[events[chosen]]
        _mark(happened, candidates, rows[chosen], items)
        labels[..., h] = happened
    return labels


def _rest_of_session(
    sequences: EventSequences, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of request and event, from its first event to the session's end."""
    session = sequences.session_index
    changes = np.ones(len(session), bool)
    changes[:-1] = (session[1:] != session[:-1]) | (
        sequences.user_rows[1:] != sequences.user_rows[:-1]
    )
    last = np.flatnonzero(changes)
    ends = last[np.searchsorted(last, begins)] + 1
    lengths = ends - begins
    request = np.repeat(np.arange(len(begins)), lengths)
    within = np.arange(len(request)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return request, begins[request] + within
