"""The steps of the preparation, in order, on one engine."""

from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from tfrec.config import ExperimentConfig
from tfrec.data.catalogue import (
    build_catalogue,
    build_vocabulary,
    index_items,
    items_from_events,
    missing_items_note,
)
from tfrec.data.engine import MICROSECONDS, Table, materialise, read_int
from tfrec.data.impressions import (
    add_labels,
    find_labels,
    split_by_user,
    write_impressions,
)
from tfrec.data.loading import (
    LoadedEvents,
    LoadReport,
    clean_events,
    load_items,
    read_events,
    thin_events,
)
from tfrec.data.progress import Steps
from tfrec.data.rejects import write_rejects
from tfrec.data.sessions import add_sessions
from tfrec.data.splits import Boundaries, find_boundaries, leave_one_out, split_by_time
from tfrec.data.store import CONTEXT_COLUMN_PREFIX, TRAIN
from tfrec.data.summary import build_summary, check_splits
from tfrec.data.vocabulary import Vocabulary
from tfrec.data.writer import write_sequences
from tfrec.schema import AttributeKind


class Preparation:
    """One preparation: holds the engine and what the steps hand on.

    Args:
        engine: Empty; does the work.
        config: The experiment.
        folder: The files are written here.
        steps: Shows the progress.
    """

    NUM_STEPS: ClassVar[int] = 7

    def __init__(
        self, engine: Backend, config: ExperimentConfig, folder: Path, steps: Steps
    ) -> None:
        self._engine = engine
        self._data = config.data
        self._schema = config.experiment_schema
        self._folder = folder
        self._steps = steps
        targets = self._schema.target_event_types
        self._notes: list[str] = []
        self._targets = [self._schema.event_type_index(t) for t in targets]

    def run(self) -> dict[str, Any]:
        """Writes all files but the manifest; returns what it says of them."""
        engine, data, step = self._engine, self._data, self._steps.step
        with step("reading events"):
            reads_searches = self._schema.search_event_type is not None
            source, raw = read_events(engine, data, reads_searches=reads_searches)
        with step("cleaning"):
            loaded = clean_events(engine, source, raw, data)
        with step("removing duplicates and rare users and items"):
            loaded = thin_events(engine, loaded, data)
        with step("sessions and splits"):
            events, boundaries = self._split(loaded.events)
        with step("catalogue and vocabularies"):
            catalogue, items_report = self._catalogue(events, loaded)
            indices = index_items(engine, catalogue, loaded.items)
            vocabularies = self._write_vocabularies(events, catalogue)
        with step("writing impressions"):
            impressions = self._impressions(
                loaded, events, boundaries, indices, vocabularies
            )
        with step("writing sequences") as report:
            statistics = write_sequences(
                engine,
                events,
                loaded.users.ids,
                indices,
                self._folder / "sequences",
                schema=self._schema,
                vocabularies=vocabularies,
                num_shards=data.num_shards,
                report=report,
            )
        reports = {"events": loaded.report}
        if items_report is not None:
            reports["items"] = items_report
        rejects = [reject for r in reports.values() for reject in r.rejects]
        write_rejects(self._folder / "rejects.csv", rejects)
        return build_summary(
            self._schema,
            reports,
            statistics,
            split=data.split.protocol,
            boundaries=None
            if boundaries is None
            else boundaries.to_json(data.time_zone),
            num_items=self._num_items,
            notes=self._notes,
            impressions=impressions,
            seconds=self._steps.seconds,
        )

    def _split(self, events: Table) -> tuple[Table, Boundaries | None]:
        engine, data = self._engine, self._data
        boundaries = None
        if data.split.protocol == "by_time":
            last = read_int(engine, events["instant"].max()) // MICROSECONDS
            boundaries = find_boundaries(last, data.split, time_zone=data.time_zone)
            events = split_by_time(events, boundaries)
        else:
            events = leave_one_out(events, self._targets)
        events = add_sessions(
            engine,
            events,
            gap_minutes=data.session_gap_minutes,
            has_times=self._schema.has_timestamps,
        )
        events = materialise(engine, "events", events)
        check_splits(engine, events, self._targets, boundaries, data)
        return events, boundaries

    def _catalogue(
        self, events: Table, loaded: LoadedEvents
    ) -> tuple[Table, LoadReport | None]:
        engine, data = self._engine, self._data
        if data.items is None:
            given = items_from_events(engine, events, loaded.items, data)
            report = None
        else:
            given, report = load_items(engine, data)
            self._notes = missing_items_note(engine, events, given, loaded.items)
        catalogue = build_catalogue(
            engine, events, given, loaded.items, target_indices=self._targets
        )
        rows = catalogue.order_by("item_index").drop("item_index")
        table = engine.to_pyarrow(rows)
        pq.write_table(table, self._folder / "items.parquet")
        self._num_items = len(table)
        return catalogue, report

    def _write_vocabularies(
        self, events: Table, catalogue: Table
    ) -> dict[str, Vocabulary]:
        folder = self._folder / "vocabularies"
        folder.mkdir()
        training = events.filter(events["split"] == TRAIN)
        items = [(catalogue, a.name, a) for a in self._schema.item_attributes]
        context = [
            (training, CONTEXT_COLUMN_PREFIX + a.name, a) for a in self._schema.context
        ]
        vocabularies = {}
        for table, column, attribute in (*items, *context):
            if attribute.kind == AttributeKind.NUMERIC:
                continue
            vocabulary = build_vocabulary(self._engine, table, column, attribute)
            vocabulary.save(folder / f"{attribute.name}.parquet")
            vocabularies[attribute.name] = vocabulary
        return vocabularies

    def _impressions(
        self,
        loaded: LoadedEvents,
        events: Table,
        boundaries: Boundaries | None,
        indices: Table,
        vocabularies: dict[str, Vocabulary],
    ) -> dict[str, int] | None:
        if loaded.shown is None:
            return None
        labels = materialise(self._engine, "labels", find_labels(events))
        if boundaries is None:
            shown = split_by_user(loaded.shown, events)
        else:
            shown = split_by_time(loaded.shown, boundaries)
        shown = add_labels(shown, labels)
        return write_impressions(
            self._engine,
            shown,
            loaded.users.ids,
            indices,
            self._folder / "impressions",
            context=self._schema.context,
            vocabularies=vocabularies,
        )
