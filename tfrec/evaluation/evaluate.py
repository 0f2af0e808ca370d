"""Ranks the full catalogue for all queries, all scorers in one pass."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tfrec.data.store import EventSequences
from tfrec.evaluation.coverage import coverage_names, mark_recommended
from tfrec.evaluation.grouping import (
    build_slices,
    group_values,
    slice_means,
    slice_sizes,
)
from tfrec.evaluation.metrics import metric_names, parse_metric, query_metrics
from tfrec.evaluation.protocols import EvaluationQueries, Scorer
from tfrec.evaluation.ranks import (
    PositiveRanks,
    RankingTask,
    build_ranking_task,
    check_scores,
    hide_seen,
    rank_positives,
)
from tfrec.evaluation.result import EvaluationResult, ScorerResult

MAX_SCORE_BYTES = 32_000_000  # Of one batch of scores.
MAX_BATCH_SIZE = 1024


class _RankedBatch(NamedTuple):
    """A batch of queries, ranked by one scorer."""

    scorer_index: int
    positives: slice
    task: RankingTask
    scores: np.ndarray
    ranks: PositiveRanks
    seconds: float


class _Ranks(NamedTuple):
    """What one pass over all queries gives.

    Attributes:
        ranks: int32 `[num_scorers, 2, num_positives]`, main ranking and novel items.
        recommended: bool `[num_scorers, num_ks, num_items]`, in any top k.
        seconds: float `[num_scorers]`.
        seen: bool `[num_positives]`, True if the history holds the item.
    """

    ranks: np.ndarray
    recommended: np.ndarray
    seconds: np.ndarray
    seen: np.ndarray


def evaluate(
    scorers: Sequence[Scorer],
    sequences: EventSequences,
    queries: EvaluationQueries,
    *,
    train_counts: np.ndarray,
    ks: Sequence[int] = (1, 5, 10, 20),
    exclude_seen: bool = False,
    num_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> EvaluationResult:
    """Evaluates scorers on the same queries against the full catalogue.

    Two rankings are made of the same scores: the whole catalogue, and the items
    that the history does not hold. They give the groups

    - `all`: every positive in the main ranking (the whole catalogue, or with
      `exclude_seen` only novel items, repeats then being misses);
    - `novel`: positives that the history does not hold, among novel items;
    - `repeat`: positives that it holds, in the whole catalogue; not with
      `exclude_seen`.

    Args:
        scorers: With distinct names; the first is the reference of differences.
        sequences: All events.
        queries: What is asked, of `build_queries`.
        train_counts: int `[num_items]`, training events of each item.
        ks: List lengths.
        exclude_seen: Whether the main ranking leaves out history items.
        num_bootstrap: Resamples of the intervals.
        seed: Of the resamples.
        progress: Whether to draw a progress bar.

    Raises:
        ValueError: If there are no queries or scorers, names repeat, a `k` is
            below 1, or a scorer returns NaN or a wrong shape.
    """
    ks, num_items = tuple(ks), len(train_counts)
    _check_arguments(scorers, queries, ks=ks, num_items=num_items)
    found = _rank_all(
        scorers,
        sequences,
        queries,
        ks=ks,
        num_items=num_items,
        exclude_seen=exclude_seen,
        progress=progress,
    )
    slices = build_slices(sequences, queries, found.seen, train_counts=train_counts)
    results = {
        scorer.name: ScorerResult(
            groups=group_values(
                ranks, queries, found.seen, ks=ks, exclude_seen=exclude_seen
            ),
            slices=slice_means(ranks[0], queries, slices, ks=ks),
            coverage=dict(zip(coverage_names(ks), shares, strict=True)),
            seconds=seconds,
        )
        for scorer, ranks, shares, seconds in zip(
            scorers,
            found.ranks,
            found.recommended.mean(axis=2).tolist(),
            found.seconds.tolist(),
            strict=True,
        )
    }
    return EvaluationResult(
        scorers=results,
        split=queries.split,
        targets=queries.targets,
        ks=ks,
        exclude_seen=exclude_seen,
        num_bootstrap=num_bootstrap,
        seed=seed,
        num_queries=queries.num_queries,
        num_positives=queries.num_positives,
        num_items=num_items,
        slice_sizes=slice_sizes(slices),
    )


def validation_metric(
    scorer: Scorer,
    sequences: EventSequences,
    queries: EvaluationQueries,
    metric: str,
    *,
    num_items: int,
    exclude_seen: bool = False,
) -> dict[str, float]:
    """Computes all metrics at the k of `metric`, without intervals or slices.

    Made for the end of a training epoch: `validation_metric(…, "NDCG@10")`
    returns `HR@10`, `Recall@10`, `NDCG@10` and `MRR@10` of the group `all`.

    Args:
        scorer: What is evaluated.
        sequences: All events.
        queries: What is asked.
        metric: Such as `NDCG@10`.
        num_items: Size of the catalogue.
        exclude_seen: Whether the ranking leaves out history items.

    Raises:
        ValueError: As `evaluate`, or if the metric is unknown.
    """
    _, k = parse_metric(metric)
    _check_arguments([scorer], queries, ks=(k,), num_items=num_items)
    ranks = np.zeros(queries.num_positives, np.int32)
    for batch in _ranked_batches(
        [scorer], sequences, queries, num_items=num_items, progress=False
    ):
        found = batch.ranks
        ranks[batch.positives] = found.novel if exclude_seen else found.all
    values = query_metrics(
        ranks, queries.query_of_positive, ks=(k,), num_queries=queries.num_queries
    )
    return dict(zip(metric_names((k,)), values.mean(axis=0).tolist(), strict=True))


def _rank_all(
    scorers: Sequence[Scorer],
    sequences: EventSequences,
    queries: EvaluationQueries,
    *,
    ks: tuple[int, ...],
    num_items: int,
    exclude_seen: bool,
    progress: bool,
) -> _Ranks:
    found = _Ranks(
        ranks=np.zeros((len(scorers), 2, queries.num_positives), np.int32),
        recommended=np.zeros((len(scorers), len(ks), num_items), bool),
        seconds=np.zeros(len(scorers)),
        seen=np.zeros(queries.num_positives, bool),
    )
    for batch in _ranked_batches(
        scorers, sequences, queries, num_items=num_items, progress=progress
    ):
        i = batch.scorer_index
        found.seen[batch.positives] = batch.task.positive_seen
        found.ranks[i, 0, batch.positives] = batch.ranks.all
        found.ranks[i, 1, batch.positives] = batch.ranks.novel
        found.seconds[i] += batch.seconds
        if exclude_seen:
            hide_seen(batch.scores, batch.task)
        mark_recommended(batch.scores, ks, found.recommended[i])
    if exclude_seen:
        found.ranks[:, 0] = found.ranks[:, 1]
    return found


def _check_arguments(
    scorers: Sequence[Scorer],
    queries: EvaluationQueries,
    *,
    ks: tuple[int, ...],
    num_items: int,
) -> None:
    names = [scorer.name for scorer in scorers]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`scorers` must be at least one, with distinct names. "
            f"Received: names={names}."
        )
    if not queries.num_queries:
        raise ValueError(
            f"`queries` must hold at least one query, but no user has a target event "
            f"in the split '{queries.split}'. Check the split boundaries and "
            "`target_event_types`."
        )
    if not ks or min(ks) < 1:
        raise ValueError(f"`ks` must be list lengths of at least 1. Received: ks={ks}.")
    largest = int(queries.positive_items.max()) - 1
    if num_items < max(largest, 1):
        raise ValueError(
            "`train_counts` must have one number per item of the catalogue, but a "
            f"positive has a greater index. Received: num_items={num_items}, largest "
            f"positive item index={largest + 1}."
        )


def _ranked_batches(
    scorers: Sequence[Scorer],
    sequences: EventSequences,
    queries: EvaluationQueries,
    *,
    num_items: int,
    progress: bool,
) -> Iterator[_RankedBatch]:
    """Scores and ranks, batch by batch; within a batch scorer by scorer."""
    size = int(np.clip(MAX_SCORE_BYTES // (4 * num_items), 1, MAX_BATCH_SIZE))
    starts = range(0, queries.num_queries, size)
    with _progress_bar(disable=not progress) as bar:
        bar_task = bar.add_task("", total=len(starts) * len(scorers))
        for start in starts:
            rows = np.arange(start, min(start + size, queries.num_queries))
            task = build_ranking_task(sequences, queries, rows, num_items=num_items)
            first, last = queries.positive_offsets[[rows[0], rows[-1] + 1]]
            for i, scorer in enumerate(scorers):
                bar.update(bar_task, description=f"Evaluate {scorer.name}")
                begin = time.perf_counter()
                scores = scorer.score(sequences, queries, rows)
                seconds = time.perf_counter() - begin
                scores = check_scores(
                    scores,
                    name=scorer.name,
                    num_queries=len(rows),
                    num_items=num_items,
                )
                ranks = rank_positives(scores, task)
                yield _RankedBatch(i, slice(first, last), task, scores, ranks, seconds)
                bar.advance(bar_task)


def _progress_bar(*, disable: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        transient=True,
        disable=disable,
    )
