"""Simulates a shop and writes its folder: log, catalogue, configuration, truth."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.experiment import experiment_text
from tfrec.data.simulator.files import (
    CONFIG_FILE,
    TRUTH_DIR,
    EventWriter,
    FileFormat,
    check_target,
    replaced_when_done,
    write_table,
)
from tfrec.data.simulator.rows import EVENT_TYPES, IMPRESSION, SEARCH
from tfrec.data.simulator.steps import ChunkLog, simulate_users
from tfrec.data.simulator.truth import TruthWriter
from tfrec.data.simulator.world import World


@dataclass(frozen=True)
class ShopSummary:
    """What was simulated.

    Attributes:
        path: Folder of the shop.
        events_path: Its event log.
        items_path: Its catalogue.
        config_path: Its experiment configuration.
        truth_path: Folder for `Oracle`.
        num_users: Shoppers.
        num_items: Items.
        event_counts: Rows of the log by event type.
        num_truth_states: Organic views that the oracle knows.
        seconds: Wall time.
    """

    path: Path
    events_path: Path
    items_path: Path
    config_path: Path
    truth_path: Path
    num_users: int
    num_items: int
    event_counts: dict[str, int]
    num_truth_states: int
    seconds: float

    @property
    def num_behaviour_events(self) -> int:
        """Rows that say what a shopper did: all but impressions."""
        return (
            sum(self.event_counts.values()) - self.event_counts[EVENT_TYPES[IMPRESSION]]
        )


def simulate(
    config: SimulatorConfig,
    output: Path | str,
    *,
    file_format: FileFormat = "parquet",
    overwrite: bool = False,
    show_progress: bool = False,
) -> ShopSummary:
    """Simulates a shop and writes it to a folder, at once or not at all.

    Args:
        config: Settings of the shop.
        output: Folder to create.
        file_format: Of log and catalogue.
        overwrite: Replaces a shop that is already there.
        show_progress: Shows a progress bar on the terminal.

    Raises:
        FileExistsError: If `output` holds something that may not be replaced.
    """
    begin = time.perf_counter()
    output = Path(output)
    check_target(output, overwrite)
    with replaced_when_done(output) as folder:
        counts, num_states = _write_shop(
            config, folder, output, file_format=file_format, show=show_progress
        )
    return ShopSummary(
        path=output,
        events_path=output / f"events.{file_format}",
        items_path=output / f"items.{file_format}",
        config_path=output / CONFIG_FILE,
        truth_path=output / TRUTH_DIR,
        num_users=config.num_users,
        num_items=config.num_items,
        event_counts={
            name: count
            for name, count in zip(EVENT_TYPES, counts.tolist(), strict=True)
            if name != EVENT_TYPES[SEARCH] or config.log_searches
        },
        num_truth_states=num_states,
        seconds=time.perf_counter() - begin,
    )


def _write_shop(
    config: SimulatorConfig,
    folder: Path,
    output: Path,
    *,
    file_format: FileFormat,
    show: bool,
) -> tuple[np.ndarray, int]:
    """Writes all files; returns rows per event type and the states known."""
    world = World.build(config)
    events_file = f"events.{file_format}"
    write_table(world.catalogue.to_table(), folder / f"items.{file_format}")
    text = experiment_text(config, output, events_file)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    counts, num_states = np.zeros(len(EVENT_TYPES), np.int64), 0
    truth = TruthWriter(
        folder / TRUTH_DIR,
        config,
        demand=world.demand,
        item_ids=world.catalogue.item_ids,
    )
    with truth, EventWriter(folder / events_file, world.labels) as events:
        for log in _simulated_chunks(world, show):
            counts += np.bincount(log.columns["event_type"], minlength=len(counts))
            num_states += len(log.truth_users)
            events.write(log)
            truth.write(log)
    return counts, num_states


def _simulated_chunks(world: World, show_progress: bool) -> Iterator[ChunkLog]:
    """Yields the chunks in order; the next is simulated while one is written."""
    num_users, size = world.config.num_users, world.config.chunk_users
    chunks = [
        np.arange(begin, min(begin + size, num_users), dtype=np.int64)
        for begin in range(0, num_users, size)
    ]
    columns = (
        TextColumn("Simulating shoppers"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, disable=not show_progress) as progress,
        ThreadPoolExecutor(max_workers=1) as executor,
    ):
        task = progress.add_task("shoppers", total=num_users)
        pending = executor.submit(simulate_users, world, chunks[0])
        for index, users in enumerate(chunks):
            log = pending.result()
            if index + 1 < len(chunks):
                pending = executor.submit(simulate_users, world, chunks[index + 1])
            yield log
            progress.advance(task, len(users))
