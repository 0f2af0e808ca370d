"""Encoders of the Transformers library: BERT and its relatives."""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.text.adapters import add_adapters, train_last_layers
from tfrec.text.clean import clean_texts
from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens
from tfrec.text.transformers_files import load_model
from tfrec.text.wordpiece import WordPieceTokenizer

logger = logging.getLogger(__name__)

# Of a model's configuration: where it came from, not what it computes.
_ORIGIN_KEYS = ("_name_or_path", "transformers_version", "architectures", "torch_dtype")

_SPACE_PIECE = "▁"  # Of SentencePiece.
# RoBERTa and its relatives count positions from behind that of the padding.
_POSITIONS_BEHIND_PADDING = frozenset(
    ("camembert", "longformer", "mpnet", "roberta", "roberta-prelayernorm")
    + ("xlm-roberta", "xlm-roberta-xl")
)


class TransformersEncoder(TextEncoder):
    """A transformer with a pooling of its last states.

    Args:
        model: `TFPreTrainedModel` without a head.
        tokenizer: Fast tokenizer of the same model.
        max_length: Tokens of one text at most.
        pooling: `mean`, `cls` or `attention`.
        normalize: L2-normalises the vectors.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        max_length: int,
        pooling: str = "mean",
        normalize: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(
            text_dim=model.config.hidden_size,
            max_length=max_length,
            pooling=pooling,
            normalize=normalize,
            name=name,
        )
        _check_length(model.config, max_length)
        self.model = model
        self._tokenizer_json = tokenizer.backend_tokenizer.to_str()
        self._word_piece = word_piece_tokenizer(tokenizer, max_length=max_length)
        self._slow_tokenizer = tokenizer if self._word_piece is None else None
        _check_vocabulary(model.config, tokenizer, self._word_piece)
        self.tokenizes_in_graph = self._word_piece is not None
        if self._word_piece is not None:
            self.unknown_id = self._word_piece.unknown_id
            self.silent_ids = self._word_piece.silent_ids
        else:
            self.unknown_id = tokenizer.unk_token_id
            self.silent_ids = _silent_ids(tokenizer)
        self.pad_id = tokenizer.pad_token_id or 0

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The WordPieces by id; None for other tokenizers."""
        return None if self._word_piece is None else self._word_piece.vocabulary

    def hash_parts(self) -> Iterable[str]:
        """Returns the tokenizer, and the model's configuration."""
        config = self.model.config.to_dict()
        config = {k: v for k, v in config.items() if k not in _ORIGIN_KEYS}
        return (self._tokenizer_json, json.dumps(config, sort_keys=True, default=str))

    def set_training(
        self, training: str, *, num_layers: int, adapter_rank: int, seed: int = 0
    ) -> None:
        """Decides what is trained on; all four ways."""
        if training == "last_layers":
            train_last_layers(self.model, num_layers)
        elif training == "adapters":
            add_adapters(self.model, rank=adapter_rank, seed=seed)
        else:
            super().set_training(
                training, num_layers=num_layers, adapter_rank=adapter_rank, seed=seed
            )

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        """Cleans and splits string `[batch_size]` into tokens, in the graph."""
        if self._word_piece is None:
            return super().tokenize(texts)
        return self._word_piece(texts)

    def numpy_tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Returns the tokens of texts in memory, for every kind of tokenizer."""
        if self._slow_tokenizer is None:
            return super().numpy_tokenize(texts)
        words = clean_texts(texts)
        # An empty batch is no input to these tokenizers.
        rows = self._slow_tokenizer(
            words or [""], truncation=True, max_length=self.max_length
        )["input_ids"][: len(words)]
        rows = [row if word else [] for row, word in zip(rows, words, strict=True)]
        lengths = np.asarray([len(row) for row in rows], np.int64)
        num_tokens = int(lengths.max(initial=0))
        token_ids = np.full((len(rows), num_tokens), self.pad_id, np.int32)
        for place, row in enumerate(rows):
            token_ids[place, : len(row)] = row
        return TextTokens(token_ids, np.arange(num_tokens) < lengths[:, np.newaxis])

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Returns the states of the last layer."""
        outputs = self.model(
            input_ids=token_ids,
            attention_mask=tf.cast(padding_mask, tf.int32),
            training=training,
        )
        return outputs.last_hidden_state


def load_transformers_encoder(
    location: str, *, max_length: int, pooling: str, normalize: bool
) -> TransformersEncoder:
    """Loads an encoder from a folder or by its hub name.

    The folder holds `config.json`, `model.safetensors` (32 or 16 bits) or
    `tf_model.h5`, and the tokenizer (`vocab.txt` or `tokenizer.json`).

    Raises:
        ValueError: The folder does not hold, or the hub does not give, such a model;
            its weights are not all there, or not all numbers; its tokenizer has more
            tokens than the model.
    """
    model, tokenizer = load_model(location)
    return TransformersEncoder(
        model, tokenizer, max_length=max_length, pooling=pooling, normalize=normalize
    )


def word_piece_tokenizer(
    tokenizer: Any, *, max_length: int
) -> WordPieceTokenizer | None:
    """Returns the tokenizer for the graph; None if it is no WordPiece of BERT."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model, normalizer = parts["model"], parts["normalizer"] or {}
    if model["type"] != "WordPiece" or normalizer.get("type") != "BertNormalizer":
        return None
    if not (normalizer["clean_text"] and normalizer["handle_chinese_chars"]):
        return None
    added = [t["content"] for t in parts["added_tokens"] if not t["special"]]
    if added:
        logger.warning(
            "The tokenizer of `text.model` has %d added tokens, such as %r. They are "
            "read as what they are made of: the graph knows WordPieces alone.",
            len(added),
            added[0],
        )
    # A token listed twice has its last id; what is left of the other is a gap.
    tokens = {token_id: token for token, token_id in model["vocab"].items()}
    vocabulary = [tokens.get(i, f"[gap {i}]") for i in range(max(tokens) + 1)]
    return WordPieceTokenizer(
        vocabulary,
        lower_case=normalizer["lowercase"],
        strip_accents=normalizer["strip_accents"],
        max_length=max_length,
        cls_token=tokenizer.cls_token,
        sep_token=tokenizer.sep_token,
        pad_token=tokenizer.pad_token,
        unknown_token=model["unk_token"],
        suffix_indicator=model["continuing_subword_prefix"],
        max_characters_per_word=model["max_input_chars_per_word"],
    )


def _silent_ids(tokenizer: Any) -> tuple[int, ...]:
    """Returns the special tokens, and SentencePiece's mark of a space, if it has one.

    It stands alone before an unknown word.
    """
    space = tokenizer.get_vocab().get(_SPACE_PIECE)
    return (*tokenizer.all_special_ids, *(() if space is None else (space,)))


def _check_length(config: Any, max_length: int) -> None:
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and config.model_type in _POSITIONS_BEHIND_PADDING:
        longest -= (config.pad_token_id or 0) + 1
    if longest is not None and longest > 0 and max_length > longest:
        raise ValueError(
            f"`text.max_length` must be at most {longest}, the positions of the model."
            f" Received: {max_length}. Lower it."
        )


def _check_vocabulary(
    config: Any, tokenizer: Any, word_piece: WordPieceTokenizer | None
) -> None:
    """Checks that every token has a row of embeddings.

    Looked up past the last row a token is zeros or an error, by the processor.
    """
    if word_piece is None:
        num_tokens = max(tokenizer.get_vocab().values()) + 1
    else:
        num_tokens = len(word_piece.vocabulary)  # The graph reads no added tokens.
    if num_tokens > config.vocab_size:
        raise ValueError(
            f"The tokenizer of `text.model` must have at most {config.vocab_size} "
            f"tokens, the embeddings of the model. Received: {num_tokens}. Take "
            "`vocab.txt` or `tokenizer.json` from where the weights are from."
        )
