"""Evaluates the trained models of a run again.

python -m tfrec.evaluate --run runs/my_shop [--split validation]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly

_DESCRIPTION = (
    "Ranks the full catalogue for every query of a split, with the trained models, "
    "the baselines and, for a simulated shop, the oracle. Prints the table and writes "
    "metrics, report and plots into the run's folder. Ranking was trained on the "
    "validation split: only the test says how good it is."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser("tfrec evaluate", description=_DESCRIPTION)
    parser.add_argument(
        "--run", type=Path, required=True, help="Folder of the run, e.g. runs/demo."
    )
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="Which events are predicted (default: test).",
    )
    options = parser.parse_args(argv)
    start_tensorflow_quietly()
    from tfrec.training.evaluation import evaluate_run
    from tfrec.training.run import load_recommender

    try:
        recommender, dataset, config = load_recommender(options.run)
        evaluate_run(config, dataset, recommender, split=options.split)
    except (OSError, ValueError) as error:
        text = explain_error(error, options.run)
        print(f"tfrec evaluate: error: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
