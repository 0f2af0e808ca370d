"""Vectors of texts on disk, so that no text is read twice by one encoder."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from tfrec.text.encoder import TextEncoder
from tfrec.text.shards import read_shards, write_shard
from tfrec.text.tokens import TextTokens

FLUSH_SECONDS = 15.0
# Batches that are sooner run op by op than a graph of the encoder is built for them.
_FEW_BATCHES = 4
# Tokenised together, so that their tokens can be counted before they are batched.
_WINDOW_TEXTS = 8_192


def encode_cached(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    folder: Path,
    batch_tokens: int,
    description: str = "Encoding texts",
) -> np.ndarray:
    """Returns the vectors of texts; encodes those that the cache does not hold.

    What is done is written every 15 seconds, and at the end or an interruption; the
    next call goes on from there. Equal texts are encoded once.

    Args:
        encoder: Its `encoder_hash` parts the vectors of different encoders.
        texts: Any number, in any order.
        folder: Of the cache; each encoder has a folder in it.
        batch_tokens: Tokens a batch, about: texts of like length share one.
        description: Of the progress bar.

    Returns:
        float32 `[len(texts), text_dim]`; zeros for texts without words.
    """
    shard_dir = Path(folder) / encoder.encoder_hash
    keys = [_key(text) for text in texts]
    known = read_shards(shard_dir, encoder.text_dim)
    missing = {key: text for key, text in zip(keys, texts, strict=True)}
    missing = {key: text for key, text in missing.items() if key not in known}
    if missing:
        known |= _encode_missing(
            encoder, missing, shard_dir, batch_tokens, description=description
        )
    vectors = np.zeros((len(texts), encoder.text_dim), np.float32)
    for row, key in enumerate(keys):
        vectors[row] = known[key]
    return vectors


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _encode_missing(
    encoder: TextEncoder,
    missing: dict[bytes, str],
    shard_dir: Path,
    batch_tokens: int,
    *,
    description: str,
) -> dict[bytes, np.ndarray]:
    done: dict[bytes, np.ndarray] = {}
    unwritten: dict[bytes, np.ndarray] = {}
    few = len(missing) * encoder.max_length <= _FEW_BATCHES * batch_tokens
    call = _run_op_by_op(encoder) if few else encoder.graph_call
    with _progress() as progress:
        task = progress.add_task(description, total=len(missing))
        last_flush = time.monotonic()
        try:
            for keys, tokens in _batches(encoder, missing, batch_tokens):
                unwritten |= zip(keys, call(*tokens).numpy(), strict=True)
                progress.advance(task, len(keys))
                if time.monotonic() - last_flush > FLUSH_SECONDS:
                    write_shard(shard_dir, unwritten)
                    done, unwritten = done | unwritten, {}
                    last_flush = time.monotonic()
        finally:
            # Ctrl-C and errors, too: what is done need not be done again.
            if unwritten:
                write_shard(shard_dir, unwritten)
    return done | unwritten


def _run_op_by_op(encoder: TextEncoder) -> Callable[..., tf.Tensor]:
    return lambda *tokens: encoder(TextTokens(*map(tf.constant, tokens)))


def _batches(
    encoder: TextEncoder, texts: dict[bytes, str], batch_tokens: int
) -> Iterator[tuple[list[bytes], TextTokens]]:
    """Yields keys and tokens in batches of like length, longest first.

    Longest first: what does not fit into memory shows at once.
    """
    by_length = sorted(texts, key=lambda key: len(texts[key]), reverse=True)
    for start in range(0, len(by_length), _WINDOW_TEXTS):
        keys = by_length[start : start + _WINDOW_TEXTS]
        tokens = encoder.numpy_tokenize([texts[key] for key in keys])
        lengths = tokens.padding_mask.sum(axis=1)
        order = np.argsort(-lengths, kind="stable")
        while len(order):
            num_tokens = max(int(lengths[order[0]]), 1)
            rows = order[: max(batch_tokens // num_tokens, 1)]
            order = order[len(rows) :]
            yield (
                [keys[row] for row in rows],
                TextTokens(*(value[rows, :num_tokens] for value in tokens)),
            )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
