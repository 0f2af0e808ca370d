"""Searches made of titles, for logs that have none."""

import re
from collections.abc import Sequence

import numpy as np

MAX_WORDS = 3  # Most searches are short.
MAX_CHARACTERS = 4  # Of scripts that are written without spaces.
_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{2,}")


def make_pseudo_searches(texts: Sequence[str], *, seed: int) -> list[str]:
    """Returns a search per text: some of its words, as they stand.

    One to three words behind one another; of a run of Chinese, Japanese or Korean
    characters two to four of them. "" stays "".

    Args:
        texts: Titles, cleaned.
        seed: Same seed and texts, same searches.

    Example:
        >>> make_pseudo_searches(["Red desk lamp with dimmer", ""], seed=0)
        ['desk lamp with', '']
    """
    rng = np.random.default_rng(seed)
    return [_some_words(text, rng) for text in texts]


def _some_words(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    if not words:
        return ""
    count = int(rng.integers(1, min(MAX_WORDS, len(words)) + 1))
    start = int(rng.integers(0, len(words) - count + 1))
    chosen = " ".join(words[start : start + count])
    run = _NO_SPACES.search(chosen)
    if run is None:
        return chosen
    found = run.group()
    length = int(rng.integers(2, min(MAX_CHARACTERS, len(found)) + 1))
    begin = int(rng.integers(0, len(found) - length + 1))
    return found[begin : begin + length]
