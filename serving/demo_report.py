"""What the demo prints: shoppers with their recommendations, and the last table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tfrec_client import Recommendation

from serving.demo_shoppers import Shopper

_SHOWN_EVENTS = 6
_ENCODERS = {
    "minilm": "MiniLM (all-MiniLM-L6-v2)",
    "scratch": "a small BERT trained on the shop's own texts",
}


def print_shopper(
    console: Console,
    shopper: Shopper,
    items: Sequence[Recommendation],
    titles: Mapping[str, str],
) -> None:
    """Prints the newest events of a shopper and what was recommended."""
    events = shopper.history[-_SHOWN_EVENTS:]
    console.print(
        f"\n[bold]Shopper {shopper.user_id}[/bold]: {len(shopper.history)} events, "
        f"the last {len(events)}:"
    )
    for event in events:
        dwell = f" ({event.dwell_seconds:.0f} s)" if event.dwell_seconds > 0 else ""
        title = titles.get(event.item_id, event.item_id)
        console.print(f"  {event.event_type:<9} {title}{dwell}", highlight=False)
    if shopper.query_text:
        console.print(
            f"searches for [bold]“{escape(shopper.query_text)}”[/bold]:",
            highlight=False,
        )
    heads = list(items[0].probabilities) if items else []
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    table.add_column("item")
    table.add_column("recommended")
    for name in ("score", "retrieval", *heads):
        table.add_column(name.removesuffix("_probability"), justify="right")
    for place, item in enumerate(items, start=1):
        is_next = item.item_id == shopper.next_item_id
        table.add_row(
            str(place),
            item.item_id,
            titles.get(item.item_id, item.item_id) + (" ← next" if is_next else ""),
            f"{item.score:.3f}",
            f"{item.retrieval_score:.3f}",
            *(f"{item.probabilities[head]:.3f}" for head in heads),
            style="bold" if is_next else None,
        )
    console.print(table)


def print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Prints the closing table: quality, searches, latency, time and files."""
    table = Table(title="Demo", title_justify="left", show_lines=False)
    for name in ("what", "HR@10", "NDCG@10", "of the oracle"):
        table.add_column(name, justify="left" if name == "what" else "right")
    ceiling = summary["oracle"].get("NDCG@10")
    rows = {
        "oracle (true probabilities)": summary["oracle"],
        "retrieval, then ranking": summary["ranking"],
        "retrieval": summary["retrieval"],
        **{f"baseline {n}": m for n, m in _best_first(summary["baselines"])},
    }
    for name, metrics in rows.items():
        table.add_row(name, *_quality(metrics, ceiling))
    if summary["search"]:
        table.add_section()
        for name, metrics in _best_first(summary["search"]):
            table.add_row(f"searches, {name}", *_quality(metrics, None))
    table.add_section()
    serving = summary["serving"]
    table.add_row(
        "gRPC recommend",
        f"p50 {serving['p50_ms']:.1f} ms",
        f"p99 {serving['p99_ms']:.1f} ms",
        f"{serving['errors']} of {serving['requests']} failed",
    )
    table.add_section()
    for stage, seconds in summary["seconds"].items():
        table.add_row(stage, f"{seconds:.1f} s", "", "")
    console.print()
    console.print(table)
    console.print(f"Texts were read by {_ENCODERS[summary['text_encoder']]}.")
    for name, path in summary["paths"].items():
        console.print(f"  {name:<10} {path}", highlight=False, soft_wrap=True)


def _best_first(
    baselines: Mapping[str, Mapping[str, float]],
) -> list[tuple[str, Mapping[str, float]]]:
    return sorted(
        baselines.items(), key=lambda pair: pair[1].get("NDCG@10", 0.0), reverse=True
    )


def _quality(metrics: Mapping[str, float], ceiling: float | None) -> tuple[str, ...]:
    hit_rate, ndcg = metrics.get("HR@10"), metrics.get("NDCG@10")
    if hit_rate is None or ndcg is None:
        return ("–", "–", "–")
    share = f"{ndcg / ceiling:.0%}" if ceiling else "–"
    return (f"{hit_rate:.4f}", f"{ndcg:.4f}", share)
