import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.synthetic import make_sequences
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.protocols import build_queries
from tfrec.evaluation.report import (
    print_report,
    render_markdown,
    write_metrics,
    write_report,
)
from tfrec.evaluation.tables import main_table
from tfrec.schema import Schema


@pytest.fixture
def metrics(single_type: Schema, fixed_scorer: Any) -> dict[str, Any]:
    """Three scorers over two queries: the oracle finds all, `good` half of it."""
    sequences = make_sequences([[0, 1, 2], [0, 1, 0]], splits=[[0, 0, 2], [0, 0, 2]])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    oracle = np.array([[0, 0, 1], [1, 0, 0]], np.float32)
    good = np.array([[0, 0, 1], [0, 1, 1]], np.float32)
    bad = np.zeros((2, 3), np.float32)
    found = evaluate(
        [
            fixed_scorer(good, "good"),
            fixed_scorer(bad, "bad"),
            fixed_scorer(oracle, "oracle"),
        ],
        sequences,
        queries,
        train_counts=np.array([3, 2, 0]),
        ks=(1,),
        num_bootstrap=20,
        progress=False,
    )
    return {
        **found.to_json(),
        "split_protocol": "by_time",
        "skipped": {"tfidf": "no [titles]"},
    }


def test_best_is_marked_and_the_oracle_is_no_rival(metrics: dict[str, Any]) -> None:
    table = main_table(metrics)
    share = table.headers.index("of oracle")
    assert [row[share] for row in table.rows] == ["50%", "0%", "100%"]
    ndcg = table.headers.index("NDCG@1")
    assert (0, ndcg) in table.best
    assert (2, ndcg) not in table.best
    assert table.rows[0][ndcg].startswith("0.5000 [")


@pytest.mark.parametrize("width", [60, 80, 160])
def test_terminal_shows_scorers_protocol_and_skipped_ones(
    metrics: dict[str, Any], width: int
) -> None:
    text = StringIO()
    print_report(metrics, console=Console(file=text, width=width))
    shown = " ".join(text.getvalue().split())
    for part in ("good", "0.5000", "Repeat and novel items", "full ranking of 3 items"):
        assert part in shown
    assert "tfidf was skipped: no [titles]." in shown


def test_markdown_holds_every_table_and_picture(metrics: dict[str, Any]) -> None:
    text = render_markdown(metrics, title="Shop", images=["training_curves.png"])
    assert text.startswith("# Shop\n")
    for part in (
        "Split: test by_time.",
        "| good | **0.5000** |",
        "## Difference to good, NDCG@1",
        "| bad | -0.5000 [",
        "| scorer | head (1) | cold (1) |",
        "- `tfidf`: no [titles]",
        "![training_curves](training_curves.png)",
    ):
        assert part in text


def test_files_are_whole_or_not_there(metrics: dict[str, Any], tmp_path: Path) -> None:
    write_metrics(metrics, tmp_path / "metrics.json")
    write_report(metrics, tmp_path / "report.md")
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "report.md"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics({"loss": float("nan")}, tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
