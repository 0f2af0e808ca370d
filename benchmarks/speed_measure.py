"""Lets trainers take turns: ours in this process, rivals in theirs."""

import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import track

from benchmarks.rivals.turn_server import Turn
from benchmarks.speed_turns import RivalError
from benchmarks.training_work import TrainingSteps, product_work
from tfrec.config import ExperimentConfig
from tfrec.data.batches import BatchBuilder

_WARM_SECONDS = 3.0  # Compiles graphs, fills pools of memory.
_PRODUCT_SECONDS = 2.0  # Some ten products or more.


class Trainer(NamedTuple):
    """Something that takes turns.

    Attributes:
        turn: Works for at least so many seconds, in whole steps.
        facts: About it, for the result.
    """

    turn: Callable[[float], Turn]
    facts: Mapping[str, Any]


def measure(
    trainers: Mapping[str, Trainer],
    *,
    rounds: int,
    seconds: float,
    missing: MutableMapping[str, str],
) -> list[dict[str, Turn]]:
    """Lets all take turns; the first round is not counted.

    Args:
        trainers: By name. Another one begins each round.
        rounds: That count.
        seconds: Of a turn, at least.
        missing: Gets the message of a rival that fails; its turns are left out.

    Returns:
        Per round the turns of all that never failed.
    """
    alive = dict(trainers)
    found: list[dict[str, Turn]] = []
    for number in track(range(rounds + 1), "Measure", transient=True):
        names = list(alive)
        first = number % len(names)
        turns: dict[str, Turn] = {}
        for name in names[first:] + names[:first]:
            wanted = seconds if number else min(_WARM_SECONDS, seconds)
            try:
                turns[name] = _watched(alive[name].turn, wanted)
            except RivalError as error:
                missing[name] = str(error)
                del alive[name]
        found.append(turns)
    return [{name: turns[name] for name in alive} for turns in found[1:]]


def _watched(turn: Callable[[float], Turn], seconds: float) -> Turn:
    """Takes a turn, and notes what other processes had of the machine meanwhile.

    Turns do not cancel that: a process of few busy threads is starved more than one
    of many, or of higher priority, so a ratio is of an idle machine or of none.
    """
    busy, started = busy_seconds(), time.perf_counter()
    done = turn(seconds)
    busy_after, gone = busy_seconds(), time.perf_counter() - started
    if busy is None or busy_after is None:
        return done
    others = max(busy_after - busy - done.cpu_seconds, 0.0)
    return done._replace(others_share=others / gone / (os.cpu_count() or 1))


def busy_seconds(path: Path = Path("/proc/stat")) -> float | None:
    """Returns how long all cores together were busy since start-up; None off Linux.

    Args:
        path: Of Linux: user, nice, system, idle, iowait, irq, softirq and steal.
    """
    if not path.is_file():
        return None
    fields = [int(part) for part in path.read_text().splitlines()[0].split()[1:9]]
    idle = sum(fields[3:5])
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def our_trainer(
    config: ExperimentConfig, prepared: Path
) -> tuple[Trainer, BatchBuilder]:
    """Prepares data, builds the model and returns its trainer and its batches.

    Batches are drawn while it trains, as in a real training. At most a handful are
    made ahead while others have their turn.
    """
    from tfrec.data.prepare import prepare

    place = {"prepared_dir": prepared}
    data = config.data.model_copy(update=place)
    config = config.model_copy(update={"data": data})
    training = TrainingSteps(config, prepare(config))

    def turn(seconds: float) -> Turn:
        targets, steps, gone, flops = 0, 0, 0.0, 0.0
        started, started_cpu = time.perf_counter(), time.process_time()
        while gone < seconds or not steps:
            batch = next(training.batches)
            training.run(batch)
            more = training.count(batch)
            targets, steps, flops = targets + more[0], steps + 1, flops + more[1]
            gone = time.perf_counter() - started
        return Turn(targets, steps, gone, time.process_time() - started_cpu, flops)

    facts = {
        "epoch_targets": int((training.builder.targets.weights > 0).sum()),
        "num_items": training.num_items,
        "num_weights": training.num_weights,
    }
    return Trainer(turn, facts), training.builder


def product_trainer() -> Trainer:
    """Returns the machine's matrix product, as something that takes turns."""
    work = product_work()

    def turn(seconds: float) -> Turn:
        steps, gone = 0, 0.0
        started, started_cpu = time.perf_counter(), time.process_time()
        while gone < min(seconds, _PRODUCT_SECONDS) or not steps:
            work.run()
            steps += 1
            gone = time.perf_counter() - started
        cpu = time.process_time() - started_cpu
        return Turn(0, steps, gone, cpu, steps * work.flops)

    return Trainer(turn, {})
