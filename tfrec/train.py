"""`python -m tfrec.train`: from a configuration to a trained, evaluated run."""

import sys
from collections.abc import Sequence

from tfrec.config_file import load_config
from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly

INTERRUPTED = 130  # Exit code of shells for Ctrl-C: 128 + SIGINT.
_DESCRIPTION = (
    "Prepares the data if that is not done, trains retrieval and ranking, and "
    "evaluates on the test split. Everything goes into the run's folder. A killed "
    "run, started again, goes on where it was."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    config = load_config(argv, description=_DESCRIPTION)
    start_tensorflow_quietly()
    from tfrec.training.callbacks import TrainingDivergedError
    from tfrec.training.run import train

    try:
        train(config)
    except (OSError, ValueError, TrainingDivergedError) as error:
        text = explain_error(error, config.run_path)
        print(f"tfrec train: error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    run = config.run_path
    print(f"The run is in {run}. Next: python -m export --run {run}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
