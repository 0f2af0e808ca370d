"""Compares text encoders on a shop's own data.

tfrec compare-encoders --config runs/demo/shop/config.yaml --encoders none minilm
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tfrec.config import ExperimentConfig, TextConfig
from tfrec.config_file import load_config
from tfrec.encoder_page import COLUMNS, cells, comparison_record, markdown
from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import write_json

_PROGRAM = "tfrec compare-encoders"
_DESCRIPTION = (
    "Trains one retrieval model a text encoder on the same data and prints what each "
    "is good for: quality for known items, for items that training never saw (a share "
    "is hidden until the test), and of searches (NDCG@10); its weights, texts a second "
    "as training encodes them, milliseconds to encode a search (ms) and to answer a "
    "request that has a history and a search, and megabytes of weights and cached "
    "vectors. Options that are not named here are fields of the configuration, such as "
    "`--text.max_length 48`."
)
ENCODERS = ("none", "configured", "minilm", "scratch", "word_vectors")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    options, rest = _parse(argv)
    files = [part for path in options.config for part in ("--config", str(path))]
    config = load_config([*files, *rest], description="")
    start_tensorflow_quietly()
    from tfrec.training.callbacks import TrainingDivergedError
    from tfrec.training.encoder_comparison import compare_encoders

    folder = options.folder or config.run_path / "encoders"
    try:
        encoders = {name: _text(config, name, options) for name in options.encoders}
        rows = compare_encoders(
            config, encoders, hidden_share=options.hidden_share, folder=folder
        )
    except (OSError, ValueError, TrainingDivergedError) as error:
        print(f"{_PROGRAM}: error: {explain_error(error, folder)}", file=sys.stderr)
        return 1
    table = _table(rows, options.hidden_share)
    Console().print(table)
    if options.out is not None:
        record = comparison_record(
            config,
            encoders,
            rows,
            hidden_share=options.hidden_share,
            command=f"{_PROGRAM} {shlex.join(argv)}",
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(markdown(record), encoding="utf-8")
        write_json(options.out.with_suffix(".json"), record)
    print(f"Figures: {folder / 'comparison.json'}")
    return 0


def _text(
    config: ExperimentConfig, name: str, options: argparse.Namespace
) -> TextConfig | None:
    if name == "none":
        return None
    if name == "configured":
        if config.text is None:
            raise ValueError(
                "`configured` among --encoders needs a section `text` in the "
                "configuration. Received: none. Add one, or leave `configured` out."
            )
        return config.text
    base = config.text or TextConfig()
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
    for _, header, _ in COLUMNS:
        lines = "\n".join(header.rsplit(" ", 1))
        table.add_column(lines, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *cells(row))
    return table


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
        help="What to compare (default: none minilm scratch); `configured` is the "
        "section `text` as it is.",
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
    parser.add_argument(
        "--out",
        type=Path,
        help="Markdown file for the page; its figures go into a JSON beside it.",
    )
    options, rest = parser.parse_known_args(argv)
    if options.out is not None and options.out.suffix != ".md":
        parser.error(f"--out must end in .md. Received: '{options.out}'.")
    return options, rest


if __name__ == "__main__":
    sys.exit(main())
