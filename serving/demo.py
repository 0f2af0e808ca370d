"""The whole way in one command: `python -m serving.demo`.

Simulates a shop, prepares its log, trains and evaluates, exports, serves, asks
over gRPC, and leaves everything with a `summary.json` in the run's folder.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from serving.demo_stages import Demo
from tfrec.quiet import start_tensorflow_quietly

MARKER_FILE = ".tfrec-demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo.

    Args:
        argv: Options, `None` for those of the process.

    Returns:
        The exit code: 0, or 1 if the folder cannot be used or the demo took longer
        than `--max_seconds`.
    """
    began = time.monotonic()
    options = _parser().parse_args(argv)
    console = Console()
    try:
        _start_clean(options.run_dir, console)
    except FileExistsError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    with console.status("Starting TensorFlow"):
        start_tensorflow_quietly()
    demo = Demo(
        options.run_dir,
        size=options.size,
        seed=options.seed,
        console=console,
        start_seconds=time.monotonic() - began,
    )
    total = demo.run()["seconds"]["total"]
    if options.max_seconds is not None and total > options.max_seconds:
        print(
            f"demo: took {total:.1f} s, longer than --max_seconds "
            f"{options.max_seconds:g}. The rows of the table say which stage took how "
            "long.",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.demo",
        description="From nothing to ranked items over gRPC: simulates a shop, "
        "prepares, trains, evaluates, exports, serves and asks for three shoppers.",
        epilog="A run that is already in the folder is removed first.",
    )
    parser.add_argument(
        "--size",
        choices=("tiny", "demo", "medium"),
        default="demo",
        help="size of the simulated shop (default: demo; tiny takes seconds)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="same seed, same shop (default: 0)"
    )
    parser.add_argument(
        "--run_dir",
        type=Path,
        default=Path("runs/demo"),
        metavar="DIR",
        help="folder of the run (default: runs/demo)",
    )
    parser.add_argument(
        "--max_seconds",
        type=float,
        metavar="SECONDS",
        help="end with exit code 1 if all stages together took longer; the demo is "
        "not broken off (default: no limit)",
    )
    return parser


def _start_clean(run_dir: Path, console: Console) -> None:
    """Empties the folder of an earlier demo, and no other folder.

    Raises:
        FileExistsError: If the folder holds anything else.
    """
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        if not (run_dir / MARKER_FILE).is_file():
            raise FileExistsError(
                f"'{run_dir}' exists and is not from a demo: nothing was changed. "
                "Give another folder with --run_dir."
            )
        console.print(f"Starts clean: removes the earlier demo in {run_dir}.")
        shutil.rmtree(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / MARKER_FILE).write_text("`python -m serving.demo` may empty this.\n")


if __name__ == "__main__":
    sys.exit(main())
