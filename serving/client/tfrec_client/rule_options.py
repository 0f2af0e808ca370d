"""Command line options about the order of an answer."""

import argparse
from collections.abc import Sequence

from tfrec_client.errors import InvalidRequestError
from tfrec_client.requests import ListSituation, RankingSituation


def add_order_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options about scores, for `recommend` and `rank`."""
    group = parser.add_argument_group("order (if the model was exported with it)")
    group.add_argument("--order", default="", help="a formula of the model, like ads")
    for name, metavar, what in (
        ("weight", "HEAD=WEIGHT", "weights of event types, such as purchase=5"),
        ("boost", "ITEM=FACTOR", "factors on the scores of items, such as sku-1=1.5"),
        ("bid", "ITEM=BID", "bids for items, such as sku-1=0.25"),
    ):
        group.add_argument(
            f"--{name}", nargs="+", default=[], metavar=metavar, help=what
        )


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options about whole lists, for `recommend`."""
    group = parser.add_argument_group("list (if the model was exported with it)")
    group.add_argument(
        "--cap",
        nargs="+",
        default=[],
        metavar="NAME=N",
        help="at most N items of one value of an attribute, such as brand=2",
    )
    group.add_argument(
        "--must_include",
        "--must-include",
        nargs="+",
        default=[],
        metavar="ITEM",
        help="items that get a place",
    )
    group.add_argument("--diversity", type=float, default=0.0, help="0 is off, up to 1")


def order_arguments(options: argparse.Namespace) -> RankingSituation:
    """Returns what was typed about scores, as arguments of the client.

    Raises:
        InvalidRequestError: If a value is no number.
    """
    return {
        "order": options.order,
        "head_weights": _numbers("weight", options.weight),
        "boosts": _numbers("boost", options.boost),
        "bids": _numbers("bid", options.bid),
    }


def list_arguments(options: argparse.Namespace) -> ListSituation:
    """Returns what was typed about the list, as arguments of the client.

    Raises:
        InvalidRequestError: If a cap is no whole number.
    """
    caps = _numbers("cap", options.cap)
    for name, cap in caps.items():
        if cap != int(cap):
            raise InvalidRequestError(
                f"`--cap {name}=...` takes a whole number. Received: {cap}."
            )
    return {
        "caps": {name: int(cap) for name, cap in caps.items()},
        "must_include_item_ids": options.must_include,
        "diversity": options.diversity,
    }


def _numbers(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Returns the numbers of `NAME=NUMBER` texts; a name may hold `=`."""
    numbers = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            numbers[name] = float(value)
        except ValueError:
            name = ""
        if not name or not abs(numbers[name]) < float("inf"):
            raise InvalidRequestError(
                f"`--{option}` takes NAME=NUMBER with a finite number. "
                f"Received: {text!r}."
            )
    return numbers
