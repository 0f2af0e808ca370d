"""Measures how fast titles become vectors, beside the model called plainly.

    python -m benchmarks.text_encoding [--json out.json] [--check]

Two sets of made-up titles, of words of the model's vocabulary: all of 24 tokens, and
of 6 to 32 tokens as in a catalogue. Each is encoded

- by `encode_cached`, as `tfrec train` does: cleaned, tokenised in the graph, batched
  by length, through one graph, into an empty cache on disk;
- plainly: Hugging Face's fast tokenizer, batches of 128 padded to 32 tokens, and
  `TFBertModel` called on them.

The ways take turns, and medians over the rounds are shown with the ratio of each
round: the machine's noise meets both. Titles per second of processor time, over all
threads, hardly hang on what else runs. `difference` is the greatest of any number in
the vectors of both ways. Goal: 300 titles/s of 24 tokens on two cores.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json
from tfrec.text_config import TextConfig

GOAL = 300.0  # Titles a second of 24 tokens.
PADDED_LENGTH = 32
TOKENS = {"24 tokens": (24, 24), "6 to 32 tokens": (6, 32)}
_PROGRAM = "python -m benchmarks.text_encoding"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 for a missed goal with `--check`."""
    options = _parse(argv)
    start_tensorflow_quietly()
    config = TextConfig(model=options.model, max_length=PADDED_LENGTH)
    try:
        result = measure(config, options)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    show(result)
    if options.json:
        write_json(options.json, result)
    missed = result["sets"]["24 tokens"]["titles_per_second"] < GOAL
    return 1 if options.check and missed else 0


def measure(config: TextConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Returns titles per second of both ways for both sets of titles."""
    from tfrec.text.registry import build_text_encoder

    encoder = build_text_encoder(config, texts=list, scratch_dir=Path("unused"))
    plain = plain_encoder(str(config.model), options.batch_size)
    sets: dict[str, Any] = {}
    for name, (fewest, most) in TOKENS.items():
        titles = make_titles(encoder, options.titles, fewest, most, seed=0)
        ours = _cached_encoder(encoder, options.batch_size * fewest)
        ways = {"ours": ours, "plain": plain}
        for way in ways.values():  # Traces and warms up.
            way(titles[: options.batch_size])
        rates: dict[str, list[float]] = {way: [] for way in ways}
        cpu_rates: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(options.rounds):
            for way in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                started, cpu_started = time.perf_counter(), time.process_time()
                ways[way](titles)
                rates[way].append(len(titles) / (time.perf_counter() - started))
                cpu_seconds = time.process_time() - cpu_started
                cpu_rates[way].append(len(titles) / cpu_seconds)
        pairs = zip(rates["ours"], rates["plain"], strict=True)
        sets[name] = {
            "titles_per_second": statistics.median(rates["ours"]),
            "plain_titles_per_second": statistics.median(rates["plain"]),
            "ratio": statistics.median(ours / plain for ours, plain in pairs),
            "titles_per_cpu_second": statistics.median(cpu_rates["ours"]),
            "plain_titles_per_cpu_second": statistics.median(cpu_rates["plain"]),
            "rounds": rates,
            "greatest_difference": _greatest_difference(ours, plain, titles[:64]),
        }
    return {
        "model": config.model,
        "titles": options.titles,
        "batch_size": options.batch_size,
        "sets": sets,
        "versions": library_versions(),
    }


def make_titles(
    encoder: Any, num_titles: int, fewest: int, most: int, *, seed: int
) -> list[str]:
    """Returns titles of as many tokens, [CLS] and [SEP] included; words of one."""
    vocabulary = encoder.vocabulary
    if vocabulary is None:
        raise ValueError("`--model` must be a WordPiece model, such as a BERT.")
    words = [word for word in vocabulary if len(word) > 2 and word.isalpha()]
    rng = np.random.default_rng(seed)
    lengths = rng.integers(fewest, most + 1, num_titles) - 2
    return [" ".join(rng.choice(words, length)) for length in lengths]


def plain_encoder(model: str, batch_size: int) -> Callable[[list[str]], np.ndarray]:
    """Returns the way of a first script: padded, batch after batch."""
    from tfrec.text.locations import resolve_model
    from tfrec.text.transformers_files import quiet_transformers

    folder = resolve_model(model)
    with quiet_transformers() as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        bert = transformers.TFAutoModel.from_pretrained(folder)

    def encode(titles: list[str]) -> np.ndarray:
        with quiet_transformers():
            return encode_batches(titles)

    def encode_batches(titles: list[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(titles), batch_size):
            tokens = tokenizer(
                titles[start : start + batch_size],
                padding="max_length",
                truncation=True,
                max_length=PADDED_LENGTH,
                return_tensors="tf",
            )
            states = bert(tokens).last_hidden_state.numpy()
            mask = tokens["attention_mask"].numpy()[:, :, np.newaxis]
            means = (states * mask).sum(axis=1) / mask.sum(axis=1)
            vectors.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        return np.concatenate(vectors)

    return encode


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(box=SIMPLE_HEAD, title=f"Encoding of titles by {result['model']}")
    table.add_column("titles of")
    columns = ("titles/s", "plain", "ratio", "a CPU second", "plain", "difference")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in result["sets"].items():
        table.add_row(
            name,
            f"{row['titles_per_second']:.0f}",
            f"{row['plain_titles_per_second']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['titles_per_cpu_second']:.0f}",
            f"{row['plain_titles_per_cpu_second']:.0f}",
            f"{row['greatest_difference']:.1e}",
        )
    Console().print(table)


def _cached_encoder(
    encoder: Any, batch_tokens: int
) -> Callable[[list[str]], np.ndarray]:
    from tfrec.text.cache import encode_cached

    def encode(titles: list[str]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            return encode_cached(
                encoder, titles, folder=Path(folder), batch_tokens=batch_tokens
            )

    return encode


def _greatest_difference(
    ours: Callable[[list[str]], np.ndarray],
    plain: Callable[[list[str]], np.ndarray],
    titles: list[str],
) -> float:
    return float(np.abs(ours(titles) - plain(titles)).max())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = TextConfig().model
    parser.add_argument("--model", default=default, help=f"default: {default}")
    parser.add_argument("--titles", type=int, default=1_280, help="of each set")
    parser.add_argument("--batch-size", type=int, default=128, help="titles a batch")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--json", type=Path, help="writes the figures there")
    parser.add_argument(
        "--check", action="store_true", help=f"fail below {GOAL:.0f} titles/s"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
