"""Turns of a training in a process of its own; `rivals.turn_server` is the far end."""

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.rivals.turn_server import Turn

START_SECONDS = 1800.0  # To import a library and to lay its data out.
STEP_SECONDS = 900.0  # More than any last step of a turn takes.
_EXIT_SECONDS = 10.0  # Between the end of its output and its own.
_LOG_LINES = 5  # Shown of a log where its process fails.


class RivalError(Exception):
    """A rival cannot be installed, started or measured; says which and why."""


class TurnClient:
    """The near end: starts a process that serves turns. A context manager.

    Args:
        name: Of the rival, for messages.
        command: Starts it.
        log: Takes what it prints.
        folder: It works there, for what its library writes unasked.
        start_seconds: Until its first answer.
        step_seconds: Until an answer, beyond the length of the turn.

    Raises:
        RivalError: If it ends or is silent for too long; shows the end of its log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        folder: Path,
        start_seconds: float = START_SECONDS,
        step_seconds: float = STEP_SECONDS,
    ) -> None:
        self.name = name
        self._log = log
        self._step_seconds = step_seconds
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=folder,
                env=clean_environment(),
                text=True,
            )
        try:
            self.facts = self._read(start_seconds)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def turn(self, seconds: float) -> Turn:
        """Lets it train for whole steps until `seconds` are over."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("ended") from error
        return Turn(**self._read(seconds + self._step_seconds))

    def close(self) -> None:
        """Ends the process, which has no say in it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # A line that it never read.
                    continue

    def _read(self, limit: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        overdue = threading.Event()

        def give_up() -> None:
            overdue.set()
            self._process.kill()

        timer = threading.Timer(limit, give_up)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        ending = f"gave no answer in {limit:,.0f} s" if overdue.is_set() else "ended"
        raise self._failure(ending)

    def _failure(self, ending: str) -> RivalError:
        try:  # Its own end says more than ours.
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return RivalError(
            f"{self.name} was to train and {ending} (exit code {code}; -9 is "
            "often a lack of memory): "
            f"{last_lines(self._log)} The whole log: '{self._log}'."
        )


def last_lines(log: Path) -> str:
    """Returns the end of a log in one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return " | ".join([line for line in lines if line][-_LOG_LINES:]) or "(empty log)."


def clean_environment() -> dict[str, str]:
    """Returns the environment without the way to this project's own packages."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
