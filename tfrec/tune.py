"""Searches for better settings on the validation split.

tfrec tune --config configs/my_shop.yaml --tune.trials 20 [--workers 2]
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console

from tfrec.config_file import load_config_and_options
from tfrec.config_messages import ConfigError
from tfrec.file_errors import explain_error

INTERRUPTED = 130  # Exit code of shells for Ctrl-C: 128 + SIGINT.
_PROGRAM = "tfrec tune"
_DESCRIPTION = (
    "Trains one model a trial and looks for the settings with the best validation; "
    "trials that fall behind are ended early. The section `tune` of the configuration "
    "says what is searched, by which metric and for how long; without `tune.space` a "
    "usual space is. The test split is never read. A killed search, started again, "
    "goes on where it was; started twice, both share the work. Writes best.yaml, to "
    "be given to `tfrec train` as one more --config."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    config, options = load_config_and_options(
        argv, description=_DESCRIPTION, add_options=_add_options
    )
    if importlib.util.find_spec("optuna") is None:
        print(
            f"{_PROGRAM}: error: Optuna is not installed. Run "
            "`pip install 'tfrec[tune]'`.",
            file=sys.stderr,
        )
        return 1
    from tfrec.tuning.results import BEST_FILE, trials_table
    from tfrec.tuning.study import metric_of
    from tfrec.tuning.tuning import tune

    folder = options.folder or config.run_path / "tuning"
    console = Console()
    try:
        study = tune(
            config,
            folder=folder,
            num_workers=options.workers,
            say=lambda line: console.print(line, markup=False, highlight=False),
        )
    except ConfigError as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError, RuntimeError) as error:
        print(f"{_PROGRAM}: error: {explain_error(error, folder)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    console.print(trials_table(study.trials(), study.space, metric=metric_of(config)))
    if not (folder / BEST_FILE).is_file():
        print("No trial has come to its end yet.")
        return 0
    print(f"Best settings: {folder / BEST_FILE}. Next: tfrec train with your --config")
    print(f"and, behind it, --config {folder / BEST_FILE}")
    return 0


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="Processes that train trials, on this machine.",
    )
    parser.add_argument(
        "--folder",
        type=Path | None,
        default=None,
        help="Of the study; default: tuning/ in the run's folder.",
    )


if __name__ == "__main__":
    sys.exit(main())
