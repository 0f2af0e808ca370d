"""Learns the WordPieces of a shop's own texts."""

from collections import Counter
from collections.abc import Sequence

from tokenizers.implementations import BertWordPieceTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_INSIDE = "##"
# BERT's: longer words are unknown as a whole, so nothing is learned from them.
_MAX_CHARACTERS_PER_WORD = 100
_MAX_PIECE_BYTES = 256  # TensorFlow Text takes no longer ones; Thai has 3 a letter.


def train_vocabulary(texts: Sequence[str], vocabulary_size: int) -> list[str]:
    """Returns WordPieces of texts in lower case; Chinese characters stand alone.

    Special tokens come first, then characters, at most half of all pieces, which
    Chinese shops need; then longer pieces, up to 256 bytes. Words that the tokenizer
    takes for unknown as a whole, of more than 100 characters, are left out. Equal
    texts give equal vocabularies.

    Args:
        texts: Cleaned.
        vocabulary_size: Pieces at most.
    """
    tokenizer = BertWordPieceTokenizer(lowercase=True, handle_chinese_chars=True)
    texts = [_without_long_words(tokenizer, text) for text in texts]
    characters = _characters(tokenizer, texts, vocabulary_size // 2)
    tokenizer.train_from_iterator(
        iter(texts),
        vocab_size=vocabulary_size,
        # The library numbers characters inside words in the order of a hash map, and
        # breaks ties by number: named here, they have their numbers already.
        special_tokens=[*SPECIAL_TOKENS, *characters],
        limit_alphabet=0,
        show_progress=False,
    )
    vocabulary = tokenizer.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    return [piece for piece in pieces if len(piece.encode()) <= _MAX_PIECE_BYTES]


def _words(tokenizer: BertWordPieceTokenizer, text: str) -> list[str]:
    normalized = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]


def _without_long_words(tokenizer: BertWordPieceTokenizer, text: str) -> str:
    words = _words(tokenizer, text)
    kept = [word for word in words if len(word) <= _MAX_CHARACTERS_PER_WORD]
    return text if len(kept) == len(words) else " ".join(kept)


def _characters(
    tokenizer: BertWordPieceTokenizer, texts: Sequence[str], num_pieces: int
) -> list[str]:
    """Returns the most frequent characters, each also as a piece inside words."""
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    for text in texts:
        for word in _words(tokenizer, text):
            counts.update(word)
            inside.update(word[1:])
    pieces: list[str] = []
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        new = [character, *([_INSIDE + character] if character in inside else [])]
        if len(pieces) + len(new) > num_pieces:
            break
        pieces += new
    return pieces
