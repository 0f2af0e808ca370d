"""Asks a tfrec model from the command line.

python -m tfrec_client recommend --target 127.0.0.1:8500 --model tfrec \
        --history sku-1:view sku-7:cart --k 5
python -m tfrec_client recommend --query "red lamp"
python -m tfrec_client recommend --order ads --cap brand=2 --must_include sku-9
python -m tfrec_client rank --history sku-1:view --candidates sku-2 sku-3
python -m tfrec_client similar-items sku-1 --k 5
python -m tfrec_client embed-query --history sku-1:view --query "red lamp" --json
python -m tfrec_client embed-text "red lamp" "blue sofa" --json
python -m tfrec_client status | metadata
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tfrec_client.client import RecommenderClient
from tfrec_client.command_line import (
    format_table,
    parse_context,
    parse_filters,
    parse_history,
)
from tfrec_client.contract import (
    EMBED_QUERY,
    RANK,
    RECOMMEND,
    RETRIEVE,
    Signature,
)
from tfrec_client.errors import RecommenderError
from tfrec_client.requests import QuerySituation, Situation
from tfrec_client.rule_options import (
    add_list_options,
    add_order_options,
    list_arguments,
    order_arguments,
)

Rows = list[dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, or 1 after printing an error."""
    options = build_parser().parse_args(arguments)
    try:
        rows = _run(options)
    except RecommenderError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(rows, indent=2) if options.json else format_table(rows))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="python -m tfrec_client",
        description="Asks a tfrec model on TensorFlow Serving, or on the embedded "
        "server, over gRPC.",
        epilog="`python -m tfrec_client COMMAND --help` explains a command.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    recommend = _add(commands, "recommend", _recommend, "best items for a shopper")
    _add_shopper(recommend, with_k=True)
    add_order_options(recommend)
    add_list_options(recommend)
    retrieve = _add(commands, "retrieve", _retrieve, "the same, by retrieval alone")
    _add_shopper(retrieve, with_k=True)
    rank = _add(commands, "rank", _rank, "scores of given items for a shopper")
    _add_shopper(rank, with_k=False)
    add_order_options(rank)
    rank.add_argument(
        "--candidates", nargs="+", required=True, metavar="ITEM", help="items to score"
    )
    similar = _add(commands, "similar-items", _similar_items, "items nearest to one")
    similar.add_argument("item_id", metavar="ITEM", help="item to start from")
    _add_k(similar)
    embed_query = _add(
        commands, "embed-query", _embed_query, "vector of a history and a search"
    )
    _add_query(embed_query.add_argument_group("shopper"))
    embed_text = _add(
        commands, "embed-text", _embed_text, "vectors of texts, if the model reads any"
    )
    embed_text.add_argument("texts", nargs="+", metavar="TEXT", help="such as a title")
    _add(commands, "status", _status, "state of the model's versions on the server")
    _add(commands, "metadata", _metadata, "inputs and outputs of every signature")
    return parser


def _add(
    commands: Any,
    name: str,
    run: Callable[[RecommenderClient, argparse.Namespace], Rows],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"Prints {summary}.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    server = parser.add_argument_group("server")
    server.add_argument("--target", default="127.0.0.1:8500", help="host:port")
    server.add_argument("--model", default="tfrec", help="name of the model")
    choice = server.add_mutually_exclusive_group()
    choice.add_argument("--version", type=int, help="number; default: the newest")
    choice.add_argument("--label", help="label of a version")
    server.add_argument(
        "--timeout_seconds", type=float, default=5.0, help="deadline of a call"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser


def _add_k(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--k", type=int, default=10, help="how many items")


def _add_query(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--history",
        nargs="*",
        default=[],
        metavar="ITEM:TYPE[:TIME[:DWELL]]",
        help="past events, oldest first, such as sku-1:view or "
        "sku-1:view:1700000000:12.5; TIME in unix seconds, else a minute apart "
        "up to now; DWELL in seconds",
    )
    group.add_argument("--query", default="", help="text of the search box")
    group.add_argument("--request_timestamp", type=int, help="unix seconds; None: now")
    group.add_argument(
        "--context",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="declared context, such as country=DE",
    )


def _add_shopper(parser: argparse.ArgumentParser, *, with_k: bool) -> None:
    group = parser.add_argument_group("shopper")
    _add_query(group)
    group.add_argument(
        "--exclude", nargs="+", default=[], metavar="ITEM", help="items to leave out"
    )
    group.add_argument(
        "--exclude_seen", action="store_true", help="leave out the history's items"
    )
    group.add_argument(
        "--filter",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="allowed values of item attributes; a name may repeat",
    )
    if with_k:
        _add_k(group)


def _query(
    client: RecommenderClient, signature_name: str, options: argparse.Namespace
) -> QuerySituation:
    signatures = client.metadata() if options.context else {}
    declared = signatures.get(signature_name, Signature()).inputs
    return {
        "query_text": options.query,
        "request_timestamp": options.request_timestamp,
        "context": parse_context(options.context, declared),
    }


def _situation(
    client: RecommenderClient, signature_name: str, options: argparse.Namespace
) -> Situation:
    return {
        **_query(client, signature_name, options),
        "exclude_item_ids": options.exclude,
        "exclude_seen": options.exclude_seen,
        "filters": parse_filters(options.filter),
    }


def _run(options: argparse.Namespace) -> Rows:
    client = RecommenderClient(
        options.target,
        model_name=options.model,
        version=options.version,
        label=options.label,
        timeout_seconds=options.timeout_seconds,
        signatures=(),
    )
    try:
        return options.run(client, options)
    finally:
        client.close()


def _recommend(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    found = client.recommend(
        parse_history(options.history),
        k=options.k,
        **_situation(client, RECOMMEND, options),
        **order_arguments(options),
        **list_arguments(options),
    )
    return [_flat(item) for item in found]


def _retrieve(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    found = client.retrieve(
        parse_history(options.history),
        k=options.k,
        **_situation(client, RETRIEVE, options),
    )
    return [_flat(item) for item in found]


def _rank(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    found = client.rank(
        parse_history(options.history),
        options.candidates,
        **_situation(client, RANK, options),
        **order_arguments(options),
    )
    return [_flat(item) for item in found]


def _similar_items(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    found = client.similar_items(options.item_id, options.k)
    return [_flat(item) for item in found]


def _embed_query(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    history = parse_history(options.history)
    vector = client.embed_query(history, **_query(client, EMBED_QUERY, options))
    return [{"query": options.query, "embedding": vector.tolist()}]


def _embed_text(client: RecommenderClient, options: argparse.Namespace) -> Rows:
    vectors = client.embed_text(options.texts).tolist()
    return [
        {"text": text, "embedding": vector}
        for text, vector in zip(options.texts, vectors, strict=True)
    ]


def _status(client: RecommenderClient, _: argparse.Namespace) -> Rows:
    return [asdict(status) for status in client.status()]


def _metadata(client: RecommenderClient, _: argparse.Namespace) -> Rows:
    return [
        {"signature": name, "direction": direction, "name": key, "tensor": str(spec)}
        for name, signature in sorted(client.metadata().items())
        for direction, specs in (("in", signature.inputs), ("out", signature.outputs))
        for key, spec in sorted(specs.items())
        if not name.startswith("__")  # TensorFlow's own, not for callers.
    ]


def _flat(item: Any) -> dict[str, Any]:
    row = asdict(item)
    if row.get("dwell_seconds", 0.0) is None:
        del row["dwell_seconds"]
    probabilities = row.pop("probabilities", {})
    return {**row, **probabilities}


if __name__ == "__main__":
    sys.exit(main())
