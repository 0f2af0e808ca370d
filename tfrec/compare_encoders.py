"""Compares text encoders on a shop's own data.

tfrec compare-encoders --config runs/demo/shop/config.yaml --encoders none minilm
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tfrec.config import TextConfig
from tfrec.config_file import load_config
from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly

_PROGRAM = "tfrec compare-encoders"
_DESCRIPTION = (
    "Trains one retrieval model a text encoder on the same data and prints what each "
    "is good for: quality for known items, for items that training never saw (a share "
    "is hidden until the test), and of searches (NDCG@10); its weights, texts a "
    "second, milliseconds to encode a search (ms) and to answer a request that has a "
    "history and a search, and megabytes of weights and cached vectors. Options that "
    "are not named here are fields of the configuration, such as "
    "`--text.max_length 48`."
)
ENCODERS = ("none", "minilm", "scratch", "word_vectors")
# Figure, its header, and how it is written.
_COLUMNS = (
    ("NDCG@10", "NDCG@10", "{:.4f}"),
    ("cold_Recall@10", "cold R@10", "{:.4f}"),
    ("search_NDCG@10", "search", "{:.4f}"),
    ("parameters", "weights", "{:,.0f}"),
    ("texts_per_second", "texts/s", "{:,.0f}"),
    ("ms_per_search", "ms", "{:.1f}"),
    ("ms_per_request", "ms a request", "{:.1f}"),
    ("megabytes", "MB", "{:,.1f}"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options, rest = _parse(argv)
    files = [part for path in options.config for part in ("--config", str(path))]
    config = load_config([*files, *rest], description="")
    start_tensorflow_quietly()
    from tfrec.training.callbacks import TrainingDivergedError
    from tfrec.training.encoder_comparison import compare_encoders

    base = config.text or TextConfig()
    folder = options.folder or config.run_path / "encoders"
    try:
        encoders = {name: _text(base, name, options) for name in options.encoders}
        rows = compare_encoders(
            config, encoders, hidden_share=options.hidden_share, folder=folder
        )
    except (OSError, ValueError, TrainingDivergedError) as error:
        print(f"{_PROGRAM}: error: {explain_error(error, folder)}", file=sys.stderr)
        return 1
    table = _table(rows, options.hidden_share)
    Console().print(table)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(_markdown(rows), encoding="utf-8")
    print(f"Figures: {folder / 'comparison.json'}")
    return 0


def _text(
    base: TextConfig, name: str, options: argparse.Namespace
) -> TextConfig | None:
    if name == "none":
        return None
    changes: dict[str, Any] = {"encoder": name, "model": None}
    if name == "minilm":
        default = TextConfig.model_fields["model"].default
        changes = {"encoder": "transformers", "model": default}
    if name == "word_vectors":
        if options.word_vectors is None:
            raise ValueError(
                "`word_vectors` among --encoders needs --word_vectors FILE, vectors "
                "in the text format of word2vec or GloVe."
            )
        changes["model"] = str(options.word_vectors)
    return TextConfig.model_validate({**base.model_dump(), **changes})


def _table(
    rows: Mapping[str, Mapping[str, float | None]], hidden_share: float
) -> Table:
    title = f"Text encoders, {hidden_share:.0%} of the items hidden until the test"
    # Eighty columns wide with weights of 8 digits.
    table = Table(
        "encoder",
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for _, header, _ in _COLUMNS:
        lines = "\n".join(header.rsplit(" ", 1))
        table.add_column(lines, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *_cells(row))
    return table


def _markdown(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    names = ["encoder", *(header for _, header, _ in _COLUMNS)]
    lines = [names, ["---", *["---:"] * len(_COLUMNS)]]
    lines += [[name, *_cells(row)] for name, row in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(row: Mapping[str, float | None]) -> list[str]:
    values = ((row[name], style) for name, _, style in _COLUMNS)
    return ["–" if value is None else style.format(value) for value, style in values]


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        _PROGRAM, description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        required=True,
        help="YAML file of the experiment. Given twice, the later one wins.",
    )
    parser.add_argument(
        "--encoders",
        nargs="+",
        choices=ENCODERS,
        default=["none", "minilm", "scratch"],
        help="What to compare (default: none minilm scratch).",
    )
    parser.add_argument(
        "--word_vectors", type=Path, help="File for the encoder `word_vectors`."
    )
    parser.add_argument(
        "--hidden_share",
        type=float,
        default=0.05,
        help="Share of the items that are hidden until the test (default: 0.05).",
    )
    parser.add_argument(
        "--folder", type=Path, help="Of the runs; default: encoders/ in the run."
    )
    parser.add_argument("--out", type=Path, help="Markdown file for the table.")
    return parser.parse_known_args(argv)


if __name__ == "__main__":
    sys.exit(main())
