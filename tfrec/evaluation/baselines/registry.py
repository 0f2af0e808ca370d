"""Baselines by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.progress import track

from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.baselines.base import Baseline
from tfrec.evaluation.baselines.item_events import without_searches_of
from tfrec.evaluation.baselines.item_knn import ItemKNN
from tfrec.evaluation.baselines.markov import Markov
from tfrec.evaluation.baselines.popularity import Popularity, RecentPopularity
from tfrec.evaluation.baselines.repeat import Repeat
from tfrec.evaluation.baselines.tfidf import TfIdf
from tfrec.evaluation.protocols import EvaluatedSplit
from tfrec.schema import Schema

BASELINES: dict[str, type[Baseline]] = {
    cls.name: cls
    for cls in (Popularity, RecentPopularity, Repeat, ItemKNN, Markov, TfIdf)
}


@dataclass(frozen=True)
class BaselineSet:
    """Baselines that the data can feed, and why the others cannot be.

    Attributes:
        dataset: The prepared dataset.
        schema: Its schema.
        scorers: In the order asked for; score only after `fit`.
        skipped: Per skipped name the reason.
    """

    dataset: PreparedDataset
    schema: Schema
    scorers: list[Baseline]
    skipped: dict[str, str] = field(default_factory=dict)

    def fit(
        self,
        sequences: EventSequences,
        *,
        split: EvaluatedSplit,
        progress: bool = True,
    ) -> list[Baseline]:
        """Fits all on the events before `split` and returns them."""
        for scorer in track(
            self.scorers, "Fit baselines", transient=True, disable=not progress
        ):
            scorer.fit(sequences, self.dataset.items, self.schema, split=split)
        return self.scorers


def build_baselines(
    names: Sequence[str], dataset: PreparedDataset, schema: Schema
) -> BaselineSet:
    """Builds the named baselines, not yet fitted.

    A baseline whose data are missing (no times, no titles) is left out and its
    reason recorded in `BaselineSet.skipped`.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ValueError(
            f"`baselines` must be among {list(BASELINES)}. Received: {unknown}."
        )
    reasons = {n: BASELINES[n].missing_data(dataset.items, schema) for n in names}
    return BaselineSet(
        dataset=dataset,
        schema=schema,
        scorers=[
            without_searches_of(BASELINES[n](), schema)
            for n, reason in reasons.items()
            if reason is None
        ],
        skipped={n: reason for n, reason in reasons.items() if reason is not None},
    )
