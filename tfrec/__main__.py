"""The command `tfrec`: finds the step that is asked for and hands over to it."""

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "simulate": "Write the event log and catalogue of a simulated shop.",
    "prepare": "Clean and split a log into a prepared dataset.",
    "train": "Prepare if needed, train retrieval and ranking, evaluate.",
    "tune": "Search for better settings, on the validation split.",
    "evaluate": "Evaluate a trained run and the baselines.",
    "compare-encoders": "Choose a text encoder: quality, speed and size of several.",
    "report": "Show the results of one or more runs.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `tfrec <command> [options]`.

    Args:
        argv: Command and its options, `None` for those of the process.

    Returns:
        The exit code of the command; 2 for one that does not exist.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    command, *options = arguments
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        print(f"tfrec: unknown command `{command}`.{hint}\n", file=sys.stderr)
        print(_usage(), file=sys.stderr)
        return 2
    module = command.replace("-", "_")
    sys.argv[0] = f"tfrec {command}"  # Named so in usage lines.
    return int(importlib.import_module(f"tfrec.{module}").main(options) or 0)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tfrec <command> [options]",
            "",
            *lines,
            "",
            "`tfrec <command> --help` says more; `python -m tfrec.<command>` is the",
            "same. From a checkout there are also `python -m export` (run to",
            "SavedModel) and `python -m serving.server` (SavedModel to gRPC).",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
