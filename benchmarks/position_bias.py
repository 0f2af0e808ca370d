"""Measures what position bias costs and how much of it is undone, and ads revenue.

    python -m benchmarks.position_bias --out docs/results/position_bias.json \
        [--size demo] [--list_order popularity] [--num_users 4000] [--seeds 3]
        [--work_dir runs/position_bias] [dotted overrides]

Simulates a shop that shows popular items first, so that what is popular is seen, and
clicked, more than it interests; or, with `--list_order random`, one whose places are
drawn, as the simulator has it by itself. Rankings are trained on its lists with
`ranking.position_bias` none, examination and propensity, and, to compare with, on the
same lists with clicks drawn as if every place had been looked at. The simulator knows
how much each item interests each shopper: by that truth the orders of the test lists
are measured, and what the preset `ads` (click probability times bid) earns, beside the
best that true probabilities could, and an observer who knows how shoppers choose and
infers from the same history what they have in mind (`benchmarks.observer_clicks`).
Finished models are read, not trained again.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from rich.console import Console

from benchmarks.click_truth import BID
from benchmarks.quality import command_line, write_result
from tfrec.config_file import load_config
from tfrec.data.simulator import simulate, sized_config
from tfrec.data_config import AttributeConfig
from tfrec.quiet import start_tensorflow_quietly
from tfrec.schema import AttributeKind

_PROGRAM = "python -m benchmarks.position_bias"
_IMPRESSION_RATE = (
    0.5  # Lists after every second view: a week has enough to learn from.
)
_BID_SIGMA = 0.5  # Spread of the logarithm of bids.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 for an error, or a missed goal with `--check`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options, overrides = _parse([a for a in arguments if a != "--"])
    console = Console()
    try:
        files = make_shop(
            options.work_dir,
            size=options.size,
            list_order=options.list_order,
            num_users=options.num_users,
            console=console,
        )
        config = load_config([*files, *overrides], description="")
        with console.status("Starting TensorFlow"):
            start_tensorflow_quietly()
        from benchmarks.position_bias_measure import measure_seed
        from benchmarks.position_bias_tables import summarise

        seeds = []
        for seed in range(options.seeds):
            console.rule(f"{config.name}, seed {seed} of {options.seeds}")
            seeds.append(
                measure_seed(
                    config, seed=seed, parent=options.work_dir, console=console
                )
            )
        result = summarise(config, seeds, list_order=options.list_order)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    own = ["--size", options.size, "--list_order", options.list_order]
    if options.num_users is not None:
        own += ["--num_users", str(options.num_users)]
    given = [*own, "--seeds", str(options.seeds), "--out", str(options.out), *overrides]
    result["command"] = command_line(_PROGRAM, given)
    return _report(result, options, console)


def _report(
    result: dict[str, Any], options: argparse.Namespace, console: Console
) -> int:
    from benchmarks.position_bias_tables import markdown, print_tables, verdicts

    write_result(options.out, result, page=markdown(result))
    print_tables(result, console)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    missed = [line for line, is_met in verdicts(result) if not is_met]
    return int(options.check and bool(missed))


def make_shop(
    parent: Path,
    *,
    size: str,
    list_order: str,
    num_users: int | None,
    console: Console,
) -> list[str]:
    """Simulates the shop unless it is there; returns options that name its files.

    Args:
        parent: Folder of the shop's folder.
        size: Of the simulator.
        list_order: `popularity` or `random`, how places of lists are given.
        num_users: Shoppers; None for as many as the size has.
        console: Told what happens.
    """
    parts = [size, list_order, *([] if num_users is None else [str(num_users)])]
    shop = parent / f"shop-{'-'.join(parts)}"
    extra = shop / "ads.yaml"
    if not extra.is_file():
        shoppers = {} if num_users is None else {"num_users": num_users}
        settings = sized_config(
            size, list_order=list_order, impression_rate=_IMPRESSION_RATE, **shoppers
        )
        with console.status(f"Simulating {shop}"):
            simulate(settings, shop, overwrite=shop.is_dir())
        add_bids(shop / "items.parquet", seed=settings.seed)
        added = _ads_settings(shop / "config.yaml", name="_".join(parts))
        text = yaml.safe_dump(added, sort_keys=False)
        extra.write_text(text, encoding="utf-8")
    return ["--config", str(shop / "config.yaml"), "--config", str(extra)]


def add_bids(path: Path, *, seed: int) -> None:
    """Adds what is paid for a click on each item: log-normal, by chance.

    Raises:
        ValueError: If there are bids.
    """
    table = pq.read_table(path)
    if BID in table.column_names:
        raise ValueError(
            f"Bids are added to a catalogue without. Received: '{path}' with a column "
            f"'{BID}'. Delete the shop's folder and run again."
        )
    rng = np.random.default_rng([seed, 5])
    bids = np.round(np.exp(_BID_SIGMA * rng.normal(size=len(table))), 4)
    pq.write_table(table.append_column(BID, pa.array(bids)), path)


def _ads_settings(config_path: Path, *, name: str) -> dict[str, Any]:
    """Returns what the configuration of the shop lacks: bids, and their order."""
    data = yaml.safe_load(config_path.read_text(encoding="utf-8"))["data"]
    bid = AttributeConfig(name=BID, kind=AttributeKind.NUMERIC, learned=False)
    attributes = [*data["item_attributes"], bid.model_dump(mode="json")]
    truth = config_path.parent / "truth"
    return {
        "name": name,
        "data": {"item_attributes": attributes, "head_event_types": ["view", "click"]},
        "ranking": {"final_order": {"default": "ads"}},
        "evaluation": {"oracle_dir": truth.as_posix()},
    }


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s --out FILE [options] [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("--out", type=Path, required=True, help="JSON to write; a page beside it.")
    option(
        "--size",
        choices=("tiny", "demo", "medium"),
        default="demo",
        help="Size of the shop (default: demo).",
    )
    option(
        "--list_order",
        choices=("popularity", "random"),
        default="popularity",
        help="How places of lists are given (default: popularity).",
    )
    option("--num_users", type=int, help="Shoppers (default: of the size).")
    option("--seeds", type=int, default=3, help="Seeds 0 … n-1 (default: 3).")
    option(
        "--work_dir",
        type=Path,
        default=Path("runs/position_bias"),
        help="Folder of shop and models (default: runs/position_bias).",
    )
    option("--check", action="store_true", help="Exit with 1 where a goal is missed.")
    options, overrides = parser.parse_known_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    return options, overrides


if __name__ == "__main__":
    sys.exit(main())
