"""Says how fast what is popular changes in a log, and which half-life that asks for.

    python -m benchmarks.popularity_drift --config configs/online_retail.yaml

What popularity of a half-life gains over that of all times when it foretells the newest
tenth of the training events; see `retrieval.recency_half_life_days`. Every field of the
configuration can be overridden.
"""

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tfrec.config_file import load_config
from tfrec.data.popularity_drift import (
    LEAST_GAIN,
    choose_half_life_days,
    half_life_gains,
)
from tfrec.data.prepare import prepare

_PROGRAM = "python -m benchmarks.popularity_drift"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    config = load_config(argv, description=str(__doc__))
    try:
        sequences = prepare(config).load_sequences()
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    console = Console()
    gains = half_life_gains(sequences)
    if not gains:
        console.print(f"{config.name} has no times: all events count alike.")
        return 0
    table = Table(
        title=f"Popularity in {config.name}", title_justify="left", box=SIMPLE_HEAD
    )
    table.add_column("half-life, days", justify="right")
    table.add_column("gain, nats an event", justify="right")
    for days, gain in gains.items():
        table.add_row(f"{days:g}", f"{gain:+.3f}")
    console.print(table)
    chosen = choose_half_life_days(sequences)
    taken = "all events count alike" if chosen is None else f"{chosen:g} days are taken"
    console.print(f"From a gain of {LEAST_GAIN} on, events are weighed: {taken}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
