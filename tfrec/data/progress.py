"""Shows and times the steps of a long piece of work."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Steps:
    """A progress bar on stderr over named steps; remembers how long each took.

    Args:
        title: What is done.
        num_steps: How many steps follow.

    Attributes:
        seconds: Wall time per step.
    """

    def __init__(self, title: str, *, num_steps: int) -> None:
        self.seconds: dict[str, float] = {}
        self._title = title
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=num_steps)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Shows and times one step; gives a function that takes the share done."""
        start, done = time.perf_counter(), len(self.seconds)
        self._progress.update(self._task, description=f"{self._title}: {name}")

        def report(share: float) -> None:
            text = f"{self._title}: {name} ({share:.0%})"
            self._progress.update(self._task, description=text)

        yield report
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self._progress.update(self._task, completed=done + 1)
