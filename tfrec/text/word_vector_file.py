"""Reads word vectors in the text formats of word2vec and GloVe."""

import codecs
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import wrap_file

_FIRST_CAPACITY = 4_096  # Rows; doubled whenever they are full.
_FIRST_LINES = 100  # They tell how many numbers a line has.
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class WordVectors(NamedTuple):
    """Words in the order of the file, which is by frequency.

    Attributes:
        words: In lower case, distinct; of two alike the first one stays.
        vectors: float32 `[num_words, text_dim]`.
    """

    words: list[str]
    vectors: np.ndarray


def read_word_vectors(path: Path) -> WordVectors:
    """Reads a file, `.gz` or plain, with or without a line of counts at its start.

    Words may hold spaces, as some of GloVe do. How many numbers a line has is what
    the line of counts says, or else most of the first lines.

    Raises:
        ValueError: The file is empty, or a line is cut off, too long or no numbers;
            tells which.
    """
    words: dict[str, None] = {}
    vectors = np.empty((0, 0), np.float32)
    lines = _lines(path)
    first = list(itertools.islice(lines, _FIRST_LINES))
    header = _header(first[0]) if first else None
    num_expected, text_dim = header or (None, _dim_of_most(path, first))
    num_lines = 0
    for number, line in enumerate(itertools.chain(first, lines), start=1):
        if not line or (number == 1 and header is not None):
            continue  # An empty one is such as the last.
        word, vector = _parse(path, number, line, text_dim)
        num_lines += 1
        if word in words:
            continue
        if len(words) == len(vectors):
            # In place: a second copy of large files would not fit.
            capacity = max(2 * len(vectors), num_expected or _FIRST_CAPACITY)
            vectors.resize((capacity, text_dim), refcheck=False)
        vectors[len(words)] = vector
        words[word] = None
    _check_complete(path, num_expected, num_lines)
    vectors.resize((len(words), text_dim), refcheck=False)
    return WordVectors(list(words), vectors)


def _lines(path: Path) -> Iterator[bytes]:
    console = Console(stderr=True)
    with (
        open(path, "rb") as raw,
        wrap_file(
            raw,
            total=path.stat().st_size,
            description=f"Reading {path.name}",
            console=console,
        ) as watched,
    ):
        packed = path.suffix == ".gz"
        try:
            lines = gzip.GzipFile(fileobj=watched) if packed else watched
            for number, line in enumerate(lines):
                mark = codecs.BOM_UTF8 if number == 0 else b""
                yield line.removeprefix(mark).rstrip(b"\r\n").rstrip(b" ")
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(
                f"`text.model` must be a whole archive. Received: {path}, which is cut "
                f"off or broken ({error}). Download it again."
            ) from error


def _header(line: bytes) -> tuple[int, int] | None:
    parts = line.split()
    if len(parts) == 2 and all(part.isdigit() for part in parts) and int(parts[1]):
        return int(parts[0]), int(parts[1])
    return None


def _dim_of_most(path: Path, lines: Sequence[bytes]) -> int:
    """Returns how many numbers end most of the lines; of two alike, the earlier."""
    said = [line for line in lines if line]
    if not said:
        raise ValueError(
            "`text.model` must be word vectors, a word and its numbers a line. "
            f"Received: {path}, which is empty. Download it again, or set another."
        )
    ((num_values, _),) = Counter(map(_num_numbers_at_end, said)).most_common(1)
    if num_values < 1:
        raise ValueError(
            "`text.model` must be word vectors in text format, a word and its numbers "
            f"a line. Received: {path}, whose first line is {said[0][:60]!r}. Convert "
            "it."
        )
    return num_values


def _num_numbers_at_end(line: bytes) -> int:
    values = line.split(b" ")[1:]  # What comes first is a word, whatever it looks like.
    numbers = itertools.takewhile(_NUMBER.fullmatch, reversed(values))
    return sum(1 for _ in numbers)


def _parse(
    path: Path, number: int, line: bytes, text_dim: int
) -> tuple[str, np.ndarray]:
    # From the right: some words of GloVe hold spaces.
    parts = line.rsplit(b" ", text_dim)
    try:
        vector = np.asarray(parts[1:]).astype(np.float32)
    except ValueError:
        vector = np.empty(0, np.float32)
    # A word that ends in a number is a number too many: words of GloVe do not.
    word = parts[0].strip(b" ")
    is_long = b" " in word and _NUMBER.fullmatch(word.rpartition(b" ")[2])
    if len(vector) != text_dim or is_long or not np.isfinite(vector).all():
        raise ValueError(
            f"Line {number} of {path} must be a word and {text_dim} numbers. Received: "
            f"{line[:40]!r} of {len(line.split(b' ')) - 1} values. The file may be cut "
            "off, or its first line wrong: download it again, or set `text.model` to "
            "another. Words of several parts may not end in a number; join them by `_`."
        )
    return word.decode("utf-8", "replace").lower(), vector


def _check_complete(path: Path, num_expected: int | None, num_lines: int) -> None:
    if num_lines == 0 or (num_expected is not None and num_lines != num_expected):
        raise ValueError(
            f"{path} must hold {num_expected or 'some'} words, as its first line says. "
            f"Received: {num_lines}, the last in line {num_lines + 1}. The file may be "
            "cut off: download it again."
        )
