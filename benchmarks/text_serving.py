"""Measures what reading texts costs a served request.

    python -m benchmarks.text_serving [--json text_serving.json] [--check]

One simulated shop, two models that differ in nothing but the text: by ids alone,
and by ids and texts. Both are trained for a moment, exported and asked by the
signature `recommend`, in process and over gRPC; the kinds of call take turns, so
that all of them see the same noise of the machine. Goals, in process: without a
search the model with text takes at most 1.05 times the other's p50, since the
texts of items are encoded beforehand; a search adds at most 15 ms at p50, with
MiniLM. What is in the folder already is not trained or exported again.
"""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tfrec_client import RecommendationRequest, RecommenderClient
from tfrec_client.codec import encode_requests
from tfrec_client.transport import Connection

from benchmarks.serving_calls import (
    CALLS_A_TURN,
    Call,
    newest_version,
    serve,
    take_turns,
)
from serving.load_test import draw_requests
from serving.server.kernels import choose_kernels_for_requests
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.simulator import simulate, sized_config
from tfrec.data.store import PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

MAX_RATIO = 1.05
MAX_SEARCH_MS = 15.0
ID, TEXT, SEARCH = "id", "id + text", "id + text, searching"
PLACES = ("in process", "gRPC")
_SIGNATURE = "recommend"
_NUM_REQUESTS = 50
_TEXT_OPTIONS = {
    "minilm": ["--text.fields", '["title", "brand", "category"]'],
    "scratch": ["--text.encoder", "scratch", "--text.model", "null"],
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where a goal is missed with `--check`."""
    options = _parse(argv)
    start_tensorflow_quietly()
    versions = {
        ID: _export(options, "id", []),
        TEXT: _export(options, "text", _TEXT_OPTIONS[options.encoder]),
    }
    prepared = options.work_dir / "prepared"
    requests = draw_requests(
        prepared, k=options.k, history_length=options.history_length, seed=options.seed
    )[:_NUM_REQUESTS]
    searching = [
        replace(request, query_text=text)
        for request, text in zip(requests, draw_searches(prepared), strict=True)
    ]
    result = {
        **{name: getattr(options, name) for name in ("size", "encoder", "calls", "k")},
        "history_length": options.history_length,
        "versions": library_versions(),
        **summarise(_measure(versions, requests, searching, options.calls)),
    }
    show(result, Console())
    if options.json:
        write_json(options.json, result)
    return int(options.check and not result["passed"])


def _export(options: argparse.Namespace, name: str, overrides: list[str]) -> Path:
    """Trains and exports what is not there yet; returns the version's folder."""
    from export.exporter import export_model
    from tfrec.training.run import load_recommender, train

    config = _configure(options, name, overrides)
    model_path = config.model_path / config.export.model_name
    if options.export_again or not model_path.is_dir():
        train(config)
        recommender, dataset, config = load_recommender(config.run_path)
        export_model(recommender, dataset, config)
    return newest_version(model_path)


def _configure(
    options: argparse.Namespace, name: str, overrides: list[str]
) -> ExperimentConfig:
    folder = options.work_dir
    shop = folder / "shop"
    if not shop.is_dir():
        simulate(sized_config(options.size, seed=0), shop, show_progress=True)
    argv = ["--config", str(shop / "config.yaml"), "--name", name]
    argv += ["--run_dir", str(folder / name)]
    argv += ["--data.prepared_dir", str(folder / "prepared")]
    argv += ["--training.retrieval.max_epochs", "1"]
    argv += ["--training.ranking.max_epochs", "1"]
    argv += ["--evaluation.baselines", "[]", "--evaluation.num_bootstrap", "10"]
    return load_config([*argv, *overrides], description="")


def draw_searches(prepared: Path) -> list[str]:
    """Returns as many searches of the log as there are requests; they come round."""
    typed = np.unique(PreparedDataset(prepared).load_sequences().query_text.astype(str))
    typed = typed[typed != ""]
    if not typed.size:
        raise SystemExit(f"The log in '{prepared}' must hold searches. Received: none.")
    drawn = np.random.default_rng(0).choice(typed, _NUM_REQUESTS)
    return [str(text) for text in drawn]


def _measure(
    versions: dict[str, Path],
    requests: list[RecommendationRequest],
    searching: list[RecommendationRequest],
    num_calls: int,
) -> dict[str, np.ndarray]:
    """Returns milliseconds of each call, by `<kind>, <place>`."""
    asked = {ID: requests, TEXT: requests, SEARCH: searching}
    calls: dict[str, Call] = {}
    with contextlib.ExitStack() as stack:
        for kind, path in versions.items():
            target = stack.enter_context(serve(path.parent, "tfrec"))
            client = stack.enter_context(
                RecommenderClient(target, model_name="tfrec", timeout_seconds=60)
            )
            kinds = [kind] if kind == ID else [TEXT, SEARCH]
            for asking in kinds:
                calls |= _calls(path, client, asking, asked[asking])
        return take_turns(calls, num_calls=num_calls, num_requests=_NUM_REQUESTS)


def _calls(
    path: Path,
    client: RecommenderClient,
    kind: str,
    requests: list[RecommendationRequest],
) -> dict[str, Call]:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    from serving.server.loaded_model import LoadedModel

    # As the server runs it: calls of `tf.saved_model.load` hand over every variable
    # of the encoder anew, and would measure that.
    model = LoadedModel("tfrec", int(path.name), path)
    inputs = client.metadata()[_SIGNATURE].inputs
    arrays = [encode_requests([request], inputs) for request in requests]
    connection = Connection("in process", "tfrec")
    messages = [
        PredictRequest.FromString(
            connection.predict_request(_SIGNATURE, row).SerializeToString()
        )
        for row in arrays
    ]

    def in_process(index: int) -> object:
        return model.predict(messages[index])

    def served(index: int) -> object:
        return client.predict(_SIGNATURE, arrays[index])

    return dict(zip(_names(kind), (in_process, served), strict=True))


def _names(kind: str) -> list[str]:
    return [f"{kind}, {place}" for place in PLACES]


def summarise(latencies: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns percentiles, and per place the ratio and what a search adds.

    These are medians over turns of what the medians of a turn give: kinds that
    took the same turn met the same noise.
    """
    percentiles = {
        name: {f"p{q}_ms": round(float(np.percentile(v, q)), 3) for q in (50, 90, 99)}
        for name, v in latencies.items()
    }
    p50 = {
        name: np.median(values.reshape(-1, CALLS_A_TURN), axis=1)
        for name, values in latencies.items()
    }
    ratio = {p: _median(p50[f"{TEXT}, {p}"] / p50[f"{ID}, {p}"]) for p in PLACES}
    added = {p: _median(p50[f"{SEARCH}, {p}"] - p50[f"{TEXT}, {p}"]) for p in PLACES}
    place = PLACES[0]
    return {
        "latency": percentiles,
        "text_over_id_p50": ratio,
        "search_adds_ms_p50": added,
        "passed": ratio[place] <= MAX_RATIO and added[place] <= MAX_SEARCH_MS,
    }


def _median(values: np.ndarray) -> float:
    return round(float(np.median(values)), 3)


def show(result: dict[str, Any], console: Console) -> None:
    """Prints the table and the two figures beside their goals."""
    table = Table(
        title=f"`{_SIGNATURE}`, {result['calls']} calls each, k={result['k']}, "
        f"{result['history_length']} events, {result['encoder']}"
    )
    table.add_column("call")
    for name in ("p50 ms", "p90 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for name, row in result["latency"].items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    for place in PLACES:
        console.print(
            f"{place}: without a search {result['text_over_id_p50'][place]:.3f} times "
            f"the model by ids (goal: at most {MAX_RATIO}); a search adds "
            f"{result['search_adds_ms_p50'][place]:.1f} ms (goal: at most "
            f"{MAX_SEARCH_MS:.0f})"
        )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_serving",
        description="What reading texts costs a served request.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/text_serving"),
        metavar="DIR",
        help="shop, runs and models; what is there is used again",
    )
    parser.add_argument("--size", default="demo", help="of the simulated shop")
    parser.add_argument(
        "--encoder", choices=sorted(_TEXT_OPTIONS), default="minilm", help="of texts"
    )
    parser.add_argument(
        "--export_again",
        action="store_true",
        help="export a new version, after a change of the code",
    )
    parser.add_argument("--calls", type=int, default=500, help="of each kind")
    parser.add_argument("--k", type=int, default=10, help="items to ask for")
    parser.add_argument("--history_length", type=int, default=50, help="events")
    parser.add_argument("--seed", type=int, default=0, help="of the histories")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 where a goal is missed"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    choose_kernels_for_requests()  # In process as in the server.
    sys.exit(main())
