"""Measures the preparation: rows a second, and memory.

    python -m benchmarks.prepare --events 10000000 [--json prepare.json]

Simulates a shop of about so many rows, impressions included, then prepares it in
a process of its own, whose peak memory is read. Work files go to `--folder`, a
temporary one by default, which needs about 3 GB for 10 M rows.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tfrec.data.prepare import read_manifest
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.shop import simulate

ROWS_PER_USER = 107  # Of a simulated shopper with the default settings.
MIN_ROWS_PER_SECOND = 500_000
MAX_GIGABYTES = 4.0


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where a goal is missed with `--check`."""
    options = _parse(argv)
    with tempfile.TemporaryDirectory(prefix="tfrec-prepare-") as temporary:
        folder = Path(options.folder or temporary)
        result = measure(options.events, folder, seed=options.seed)
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")
    is_good = (
        result["rows_per_second"] >= MIN_ROWS_PER_SECOND
        and result["peak_gigabytes"] <= MAX_GIGABYTES
    )
    return int(options.check and not is_good)


def measure(num_rows: int, folder: Path, *, seed: int) -> dict[str, Any]:
    """Simulates and prepares a shop of about `num_rows` rows."""
    num_users = max(100, round(num_rows / ROWS_PER_USER))
    num_items = max(200, round(20 * math.sqrt(num_users)))
    num_categories = max(4, min(400, num_items // 20))
    shop = simulate(
        SimulatorConfig(
            name="benchmark",
            seed=seed,
            num_users=num_users,
            num_items=num_items,
            num_categories=num_categories,
            truth_share=0.01,
        ),
        folder / "shop",
        overwrite=True,
        show_progress=True,
    )
    prepared = folder / "prepared"
    command = [sys.executable, "-m", "tfrec.prepare", "--overwrite"]
    command += ["--config", str(shop.config_path)]
    command += ["--data.prepared_dir", str(prepared)]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Linux counts kibibytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # On a machine that others use, too, wall time says little.
    cpu_seconds = usage.ru_utime + usage.ru_stime
    rows = sum(shop.event_counts.values())
    manifest = read_manifest(prepared)
    return {
        "rows": rows,
        "behaviour_events": manifest["counts"]["events"],
        "users": manifest["counts"]["users"],
        "items": manifest["counts"]["items"],
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "rows_per_second": round(rows / seconds),
        "peak_gigabytes": round(peak / 1e9, 2),
        "step_seconds": manifest["seconds"],
        "cpus": len(os.sched_getaffinity(0))
        if sys.platform == "linux"
        else os.cpu_count(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "seed": seed,
        "versions": manifest["versions"],
    }


def show(result: dict[str, Any]) -> None:
    """Prints the figures beside their goals."""
    table = Table(title=f"Preparation on {result['cpus']} CPUs, start to end")
    for column in ("figure", "measured", "goal"):
        table.add_column(column, justify="right" if column != "figure" else "left")
    table.add_row("rows, impressions included", f"{result['rows']:,}", "")
    table.add_row("seconds", f"{result['seconds']:.1f}", "")
    table.add_row("CPU seconds", f"{result['cpu_seconds']:.1f}", "")
    goal = f">= {MIN_ROWS_PER_SECOND:,}"
    table.add_row("rows a second", f"{result['rows_per_second']:,}", goal)
    goal = f"<= {MAX_GIGABYTES:g}"
    table.add_row("peak memory, GB", f"{result['peak_gigabytes']:.2f}", goal)
    for name, seconds in result["step_seconds"].items():
        table.add_row(f"  {name}, s", f"{seconds:.1f}", "")
    table.add_row("load average", str(result["load_average"]), "<= 2")
    Console().print(table)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=10_000_000, help="Rows, about.")
    parser.add_argument("--seed", type=int, default=0, help="Of the simulated shop.")
    parser.add_argument("--json", help="File for the figures.")
    parser.add_argument("--folder", help="Work folder; kept. Default: temporary.")
    parser.add_argument(
        "--check", action="store_true", help="Exit with 1 where a goal is missed."
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
