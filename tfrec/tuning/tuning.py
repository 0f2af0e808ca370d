"""A whole search: prepares once, runs workers, writes down what was found."""

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path

from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.quiet import start_tensorflow_quietly
from tfrec.tuning.results import describe_trial, has_best, write_results
from tfrec.tuning.study import WORKERS_DIR, TuningStudy, metric_of

SECONDS_BETWEEN_LOOKS = 0.5


def tune(
    config: ExperimentConfig,
    *,
    folder: Path,
    num_workers: int = 1,
    say: Callable[[str], None] = print,
) -> TuningStudy:
    """Searches for better settings until the budget of the study is used up.

    Called again, or called at the same time by another process, it goes on with the
    study of the folder. Only training and validation events are read.

    Args:
        config: The experiment; `tune` says what is searched.
        folder: Of the study.
        num_workers: Processes that train trials; with one it is this process.
        say: Takes a line for each trial that ends.

    Returns:
        The study; `best.yaml`, `trials.json` and `history.png` are in its folder.

    Raises:
        ConfigError: If what is searched does not fit the configuration.
        FileNotFoundError: If the log is missing.
        ValueError: If the folder holds another study, the data cannot be trained on,
            or no trial came to its end.
        RuntimeError: If worker processes failed and the budget is not used up.
    """
    _check_arguments(config, num_workers)
    study = TuningStudy(config, folder)
    with study.lock("prepare.lock"):
        prepare(config)
    minutes = config.tune.timeout_minutes
    deadline = None if minutes is None else time.time() + 60 * minutes
    if num_workers == 1:
        start_tensorflow_quietly()
        from tfrec.tuning.worker import work

        work(config, folder, deadline=deadline, say=say)
    else:
        _run_workers(study, num_workers, deadline=deadline, say=say)
    _write(study, say)
    return study


def _write(study: TuningStudy, say: Callable[[str], None]) -> None:
    """Writes what is found; the last process of a study has all of it."""
    num_running = study.num_running()
    if num_running:
        say(
            f"Trials that other processes still train: {num_running}. They write again."
        )
    if num_running == 0 or has_best(study.trials()):
        write_results(study)


def _check_arguments(config: ExperimentConfig, num_workers: int) -> None:
    if num_workers < 1:
        raise ValueError(
            "`num_workers` must be at least 1. Received: "
            f"num_workers={num_workers}. Leave it out for one."
        )
    if config.training.strategy == "multi_worker":
        raise ValueError(
            "`training.strategy` must train a trial on one machine while tuning. "
            "Received: multi_worker. Use `auto`, and more workers of the study."
        )


def _run_workers(
    study: TuningStudy,
    num_workers: int,
    *,
    deadline: float | None,
    say: Callable[[str], None],
) -> None:
    """Starts worker processes and waits for the last; what they print is logged."""
    context = multiprocessing.get_context("spawn")
    logs = study.folder / WORKERS_DIR
    logs.mkdir(exist_ok=True)
    threads = max((os.cpu_count() or 1) // num_workers, 1)
    workers: list[SpawnProcess] = []
    try:
        for number in range(num_workers):
            log = logs / f"worker-{os.getpid()}-{number}.log"
            arguments = (study.config, study.folder, deadline, log, threads)
            worker = context.Process(target=_work_in_process, args=arguments)
            worker.name = str(log)
            worker.start()
            workers.append(worker)
        _watch(study, workers, say)
    finally:
        for worker in workers:
            worker.terminate()  # Nothing to one that has ended.
            worker.join()
    failed = [f"'{w.name}' (exit code {w.exitcode})" for w in workers if w.exitcode]
    if failed and not study.is_finished():
        raise RuntimeError(
            f"Workers ended before the study: {', '.join(failed)}; their files say "
            "why. The same command goes on where they were."
        )


def _watch(
    study: TuningStudy, workers: Sequence[SpawnProcess], say: Callable[[str], None]
) -> None:
    """Tells each trial that ends while the workers run."""
    told = {trial.number for trial in study.trials() if trial.state.is_finished()}
    alive = True
    while alive:
        alive = any(worker.is_alive() for worker in workers)
        for trial in study.trials():
            if trial.state.is_finished() and trial.number not in told:
                told.add(trial.number)
                say(describe_trial(trial, metric=metric_of(study.config)))
        if alive:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _work_in_process(
    config: ExperimentConfig,
    folder: Path,
    deadline: float | None,
    log: Path,
    num_threads: int,
) -> None:
    """Is one worker process; prints into its log."""
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    start_tensorflow_quietly()
    from tfrec.tuning.worker import limit_threads, work

    limit_threads(num_threads)
    try:
        work(config, folder, deadline=deadline, say=lambda line: print(line))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
