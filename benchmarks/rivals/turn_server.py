"""Serves turns of a training to the process that started this one.

Standard library alone: it runs in a rival's environment. Over standard input comes
one line of JSON a turn, `{"seconds": 10}`; over standard output first go the facts of
the trainer, then one line a turn. What libraries print meanwhile goes to the log.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple


class Turn(NamedTuple):
    """What was learned in a turn.

    Attributes:
        targets: Positions with a next item that entered the loss.
        steps: Updates of the weights.
        seconds: From the first batch's making to the last update.
        cpu_seconds: Of the trainer's process, over all its threads.
        flops: Operations of the counted products; 0 where none are counted.
        others_share: Share of the machine that other processes had meanwhile; None
            where that cannot be read.
    """

    targets: int
    steps: int
    seconds: float
    cpu_seconds: float
    flops: float = 0.0
    others_share: float | None = None


class NoMoreTurns(Exception):
    """Ends a library's endless training."""


class TurnServer:
    """The far end: counts the steps of a training, and lets it wait for its turns.

    From its making on, standard output of the process goes to standard error.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._targets = self._steps = 0
        self._started = self._started_cpu = self._wanted = 0.0

    def announce(self, facts: Mapping[str, Any]) -> None:
        """Says that all is laid out, and what."""
        self._answer(facts)

    def wait(self) -> None:
        """Returns when a turn begins.

        Raises:
            NoMoreTurns: If there is none any more.
        """
        line = sys.stdin.readline()
        if not line:
            raise NoMoreTurns
        self._wanted = float(json.loads(line)["seconds"])
        self._targets = self._steps = 0
        self._started, self._started_cpu = time.perf_counter(), time.process_time()

    def step(self, num_targets: int) -> None:
        """Counts a finished step; at a turn's end answers, and waits for the next."""
        self._targets += num_targets
        self._steps += 1
        seconds = time.perf_counter() - self._started
        if seconds >= self._wanted:
            cpu = time.process_time() - self._started_cpu
            turn = Turn(self._targets, self._steps, seconds, cpu)
            self._answer(turn._asdict())
            self.wait()

    def _answer(self, values: Mapping[str, Any]) -> None:
        self._answers.write(json.dumps(values) + "\n")
        self._answers.flush()
