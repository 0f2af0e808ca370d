"""Frozen, typed configuration of the data: tables, columns, cleaning, splits."""

import difflib
import zoneinfo
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tfrec.schema import AttributeKind, AttributeSpec, Schema


class FrozenConfig(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


# `auto` takes numbers for seconds.
TimeUnit = Literal["auto", "seconds", "milliseconds", "microseconds"]


class TableConfig(FrozenConfig):
    """One table: where it lies and how it is written down.

    `sequences` is one line a user, `user item item ...`, oldest first.
    """

    paths: tuple[str, ...] = Field(
        description="Files or globs, relative to the current folder."
    )
    format: Literal["auto", "parquet", "csv", "jsonl", "sequences"] = Field(
        "auto", description="`auto` goes by the file name, `.gz` allowed."
    )
    delimiter: str | None = Field(
        None,
        description="Column separator of `csv`. None: as the first line tells (comma, "
        "semicolon, tab or bar; where it tells nothing, a comma).",
    )
    header: bool = Field(True, description="False: `columns` names them in order.")
    columns: tuple[str, ...] = Field((), description="Names for a file without header.")
    quote: str = Field('"', description="Quote character of `csv`; empty for none.")
    decimal: Literal[".", ","] = Field(
        ".", description="Decimal sign of numbers in `csv`; `,`: `1.234,50` is 1234.5."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.header and not self.columns:
            raise ValueError("`columns` must name the columns when `header` is false.")
        if not self.paths:
            raise ValueError("`paths` must name at least one file or glob.")
        return self


class EventColumns(FrozenConfig):
    """Which column of the event log plays which role; None where it is missing."""

    user_id: str = Field("user_id", description="Who: any string or number.")
    item_id: str = Field("item_id", description="What: any string or number.")
    event_type: str | None = Field(None, description="How: see `event_types`.")
    timestamp: str | None = Field(
        None, description="When; without it the order of the file counts."
    )
    session_id: str | None = Field(
        None, description="Without it `session_gap_minutes` parts sessions."
    )
    dwell_seconds: str | None = Field(None, description="Time spent on the item.")
    query: str | None = Field(None, description="Search text that led to the event.")
    position: str | None = Field(None, description="Place in the list, 1 is first.")
    impression_id: str | None = Field(None, description="The list that was shown.")
    quantity: str | None = Field(None, description="Units, of purchases.")
    price: str | None = Field(None, description="Price at the time of the event.")
    propensity: str | None = Field(
        None, description="Logged probability that the place was looked at."
    )


class ItemColumns(FrozenConfig):
    """Which column of the catalogue plays which role; None where it is missing."""

    item_id: str = Field("item_id", description="As in the event log.")
    title: str | None = Field(None, description="Name of the item, shown and learned.")


class AttributeConfig(FrozenConfig):
    """One attribute to learn from, of items or of the context."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Lower case letters, digits and _."
    )
    column: str | None = Field(None, description="Its column; None: same as `name`.")
    kind: AttributeKind = Field(
        AttributeKind.CATEGORICAL, description="How it is encoded."
    )
    separator: str = Field("/", description="Joins levels of a `path`, or `tags`.")
    max_levels: int = Field(4, ge=1, description="Levels, or tags, that are read.")
    learned: bool = Field(
        True,
        description="False keeps it from the models: for formulas, filters and caps "
        "alone, such as a bid, which must not change a probability.",
    )

    @property
    def source_column(self) -> str:
        """The column that holds the attribute."""
        return self.column or self.name

    def spec(self) -> AttributeSpec:
        """Returns the attribute as the schema knows it."""
        return AttributeSpec(
            self.name, self.kind, self.separator, self.max_levels, self.learned
        )


class RowFilter(FrozenConfig):
    """A condition on raw rows; rows that meet it are dropped and counted."""

    column: str = Field(description="Column of the raw table.")
    drop: Literal[
        "missing", "starts_with", "not_matches", "equals", "at_most", "below"
    ] = Field(description="`not_matches`: regular expression; `at_most`: a number.")
    value: str | float | None = Field(
        None, description="What the column is compared with; not for `missing`."
    )
    reason: str = Field("", description="Named in the manifest, e.g. cancellation.")


class CleaningConfig(FrozenConfig):
    """Which rows are dropped before anything is learned."""

    drop_rows: tuple[RowFilter, ...] = Field(
        (), description="Conditions on raw rows, such as cancellations."
    )
    duplicates: Literal["keep", "exact", "same_time"] = Field(
        "exact",
        description="`exact`: rows equal in every role are one; `same_time`: also "
        "rows of one user, item, type and time.",
    )
    min_user_events: int = Field(1, ge=1, description="k-core, with `min_item_events`.")
    min_item_events: int = Field(1, ge=1, description="Repeated until both hold.")
    max_reject_share: float = Field(
        0.01, ge=0, le=1, description="More unusable rows than this is an error."
    )


class SplitConfig(FrozenConfig):
    """How events are parted into training, validation and test.

    `leave_one_out`: per user the last target event is test, the one before is
    validation. `by_time`: one cut for all users; the last `test_days` are test,
    the `validation_days` before them validation.
    """

    protocol: Literal["leave_one_out", "by_time"] = Field(
        "by_time", description="`by_time` is the truth, the other is for papers."
    )
    validation_days: float = Field(7.0, gt=0, description="Days, of `by_time`.")
    test_days: float = Field(7.0, gt=0, description="Days, of `by_time`.")


class DataConfig(FrozenConfig):
    """From raw tables to a prepared dataset."""

    events: TableConfig
    items: TableConfig | None = Field(
        None, description="None: the catalogue is read off the events before the test."
    )
    prepared_dir: Path | None = Field(
        None, description="Prepared dataset; None: `prepared` in the run's folder."
    )
    event_columns: EventColumns = EventColumns()
    item_columns: ItemColumns = ItemColumns()
    item_attributes: tuple[AttributeConfig, ...] = ()
    context: tuple[AttributeConfig, ...] = Field(
        (), description="Event columns known with a request, e.g. country."
    )
    event_types: tuple[str, ...] = Field(
        ("event",), description="Weakest first. One name: no event type column needed."
    )
    target_event_types: tuple[str, ...] = Field(
        (), description="What is predicted; empty: all `event_types`."
    )
    head_event_types: tuple[str, ...] = Field(
        (), description="Get a ranking head; empty: `target_event_types`."
    )
    event_type_names: dict[str, str] = Field(
        {}, description="Raw value to event type, for example `pv: view`."
    )
    impression_event_type: str | None = Field(
        None, description="Raw type of rows that only say an item was shown."
    )
    search_event_type: str | None = Field(
        None,
        description="Type of rows that are searches: they need no item but the column "
        "`query`, and are read as events of the history. Needs `text`. Not among "
        "`event_types`.",
    )
    timestamp_unit: TimeUnit = Field(
        "auto", description="`auto`: ISO 8601 text, date columns or seconds."
    )
    time_zone: str = Field("UTC", description="Of timestamps that state none.")
    session_gap_minutes: float = Field(
        30.0, gt=0, description="A longer pause starts a new session."
    )
    cleaning: CleaningConfig = CleaningConfig()
    split: SplitConfig = SplitConfig()
    num_shards: int = Field(4, ge=1, description="Files of the prepared sequences.")
    memory_limit_gb: float = Field(3.0, gt=0, description="For DuckDB.")

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        known = zoneinfo.available_timezones()
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                "`time_zone` must be a name of the IANA database, such as "
                f"Europe/Berlin. Received: '{value}'.{hint}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.event_columns.event_type is None and len(self.event_types) != 1:
            raise ValueError(
                "`event_types` must have exactly one name when "
                "`event_columns.event_type` is not set. "
                f"Received: event_types={list(self.event_types)}."
            )
        if self.event_columns.timestamp is None and self.split.protocol == "by_time":
            raise ValueError(
                "`split.protocol=by_time` needs `event_columns.timestamp`. "
                "Set the column, or use `leave_one_out`."
            )
        self._check_searches()
        self.build_schema()
        return self

    def _check_searches(self) -> None:
        name = self.search_event_type
        if name is None:
            return
        taken = (*self.event_types, self.impression_event_type)
        if name in taken:
            raise ValueError(
                "`search_event_type` must be a type of its own. Received: "
                f"'{name}', which is also in `event_types` or `impression_event_type`. "
                "Leave it out there."
            )
        roles = self.event_columns
        if roles.query is None or roles.event_type is None:
            raise ValueError(
                f"`search_event_type` = '{name}' needs `event_columns.event_type` and "
                "`event_columns.query`, the text of a search. Received: event_type="
                f"{roles.event_type!r}, query={roles.query!r}. Set both."
            )

    def build_schema(
        self,
        filters: tuple[str, ...] = (),
        *,
        has_text: bool = False,
        has_ranking: bool = True,
        caps: tuple[str, ...] = (),
        rules: tuple[str, ...] = (),
        has_dwell: bool = False,
        has_interests: bool = False,
    ) -> Schema:
        """Returns the schema that this configuration declares."""
        searches = self.search_event_type if has_text else None
        return Schema(
            event_types=self.event_types + ((searches,) if searches else ()),
            target_event_types=self.target_event_types or self.event_types,
            head_event_types=self.head_event_types,
            item_attributes=tuple(a.spec() for a in self.item_attributes),
            context=tuple(a.spec() for a in self.context),
            filters=filters,
            has_timestamps=self.event_columns.timestamp is not None,
            has_text=has_text,
            has_ranking=has_ranking,
            caps=caps,
            rules=rules,
            has_dwell=has_dwell,
            has_interests=has_interests,
            search_event_type=searches,
        )
