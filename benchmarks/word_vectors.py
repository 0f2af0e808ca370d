"""Writes word vectors for the words of a shop, from pre-trained ones of WordLlama.

    pip install -c constraints.txt -e '.[benchmarks]'
    python -m benchmarks.word_vectors --config runs/demo/shop/config.yaml \
        --out runs/demo/word_vectors.txt [dotted overrides]
    tfrec compare-encoders --config runs/demo/shop/config.yaml \
        --encoders none word_vectors minilm --word_vectors runs/demo/word_vectors.txt

WordLlama (MIT, https://github.com/dleemiller/WordLlama) distils the token embeddings
of large language models into 256 numbers and brings them in its package. A word's
vector is the mean of its tokens'. The file has the words of item texts and searches
in the text format of word2vec, the most frequent first.
"""

import argparse
import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfrec.config_file import load_config
from tfrec.data.prepare import prepare
from tfrec.quiet import start_tensorflow_quietly
from tfrec.text_config import TextConfig

_PROGRAM = "python -m benchmarks.word_vectors"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options, overrides = _parse(argv)
    files = [part for path in options.config for part in ("--config", str(path))]
    try:
        config = load_config([*files, *overrides], description="")
        start_tensorflow_quietly()
        dataset = prepare(config)
        from tfrec.text.shop_texts import item_texts

        fields = (config.text or TextConfig()).fields
        searches = dataset.load_sequences().query_text.tolist()
        words = frequent_words([*item_texts(dataset, fields), *searches])
        if not words:
            raise ValueError(
                f"The texts of `text.fields` ({', '.join(fields)}) must have words. "
                "Received: none. Name attributes that have some."
            )
        write_word_vectors(options.out, words, embed(words))
    except (ImportError, OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    print(f"Written: {options.out}, {len(words):,} words")
    return 0


def frequent_words(texts: Iterable[str]) -> list[str]:
    """Returns the distinct words of texts, as `WordVectorEncoder` splits them.

    Args:
        texts: "" counts for nothing.

    Returns:
        The most frequent first; equally frequent ones by the alphabet.
    """
    import tensorflow as tf

    from tfrec.text.words import split_words

    distinct = Counter(filter(None, texts))
    split = split_words(
        tf.constant([*distinct], tf.string), lower_case=True, strip_accents=False
    )
    counts: Counter[str] = Counter()
    for words, count in zip(split.to_list(), distinct.values(), strict=True):
        for word in words:
            counts[word.decode()] += count
    return sorted(counts, key=lambda word: (-counts[word], word))


def embed(words: Sequence[str]) -> np.ndarray:
    """Returns float32 `[num_words, 256]`.

    Raises:
        ImportError: If WordLlama is not installed.
    """
    try:
        import wordllama  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "The package `wordllama` must be installed. Received: none. Run "
            "pip install -c constraints.txt -e '.[benchmarks]'"
        ) from error
    # It looks for its own tokenizer in a folder misspelled; as a cache it finds it.
    package = Path(inspect.getfile(wordllama)).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)
    return np.asarray(model.embed([*words], norm=False), np.float32)


def write_word_vectors(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes the text format of word2vec, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(words, vectors, strict=True):
            file.write(word + " " + " ".join(f"{x:.6g}" for x in vector) + "\n")
    partial.rename(path)


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s --config FILE --out FILE [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        action="append",
        help="YAML file of the experiment. Given twice, the later one wins.",
    )
    parser.add_argument("--out", type=Path, required=True, help="File to write.")
    return parser.parse_known_args(argv)


if __name__ == "__main__":
    sys.exit(main())
