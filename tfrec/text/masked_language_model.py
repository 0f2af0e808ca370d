"""Trains a small BERT to guess hidden words of texts, without any labels."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tfrec.text.wordpiece import WordPieceTokenizer
from tfrec.text_config import TextConfig

_MASK_SHARE, _RANDOM_SHARE = 0.8, 0.1  # Of hidden tokens; the rest stays (BERT).
_WARM_UP_SHARE = 0.1
_MAX_GRADIENT_NORM = 1.0
_TOKENIZED_TOGETHER = 8_192
# Sorted by length together; larger shards pad less, smaller ones mix better.
_BATCHES_SORTED_TOGETHER = 50
_SMOOTHING = 0.98


class MaskedBatch(NamedTuple):
    """Texts with hidden tokens.

    Attributes:
        token_ids: int32 `[batch_size, num_tokens]`, some of them hidden.
        padding_mask: bool `[batch_size, num_tokens]`, True = real token.
        positions: int32 `[num_hidden, 2]`, row and place of what was hidden.
        labels: int32 `[num_hidden]`, the tokens that were there.
    """

    token_ids: np.ndarray
    padding_mask: np.ndarray
    positions: np.ndarray
    labels: np.ndarray


def train_masked_language_model(
    model: Any,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    config: TextConfig,
    *,
    seed: int,
) -> dict[str, float]:
    """Trains `model` in place; after Devlin et al. 2018, "BERT".

    Args:
        model: `TFBertForMaskedLM`, built.
        tokenizer: Of the texts.
        texts: Distinct and cleaned.
        config: Holds epochs, steps, batch size, rate and the share of hidden tokens.
        seed: Of order, masks and offsets of positions.

    Returns:
        What is worth a record: steps, seconds, smoothed loss and accuracy.
    """
    scratch = config.scratch
    rng = np.random.default_rng(seed)
    rows = _token_rows(tokenizer, texts)
    steps_per_epoch = -(-len(rows) // scratch.batch_size)
    num_steps = min(scratch.max_steps, scratch.max_epochs * steps_per_epoch)
    optimizer = tf.keras.optimizers.Adam(global_clipnorm=_MAX_GRADIENT_NORM)
    step = _step_function(model, optimizer)
    batches = _batches(rows, tokenizer, config, rng)
    started, running = time.monotonic(), np.zeros(2)
    loss, accuracy = np.inf, 0.0
    with _progress() as progress:
        task = progress.add_task("Learning the words", total=num_steps, note="")
        for number, batch in zip(range(num_steps), batches, strict=False):
            optimizer.learning_rate.assign(
                scratch.learning_rate * learning_rate_factor(number, num_steps)
            )
            longest = model.config.max_position_embeddings - batch.token_ids.shape[1]
            # All positions are learned, whatever the length of the texts.
            offset = rng.integers(longest + 1) if config.sequence == "single" else 0
            result = np.asarray(step(*batch, np.int32(offset)))
            running = _SMOOTHING * running + (1 - _SMOOTHING) * result
            # Without the pull to the zeros that it started from.
            loss, accuracy = running / (1 - _SMOOTHING ** (number + 1))
            note = f"loss {loss:.2f}, {accuracy:.0%} guessed"
            progress.update(task, advance=1, note=note)
    if not np.isfinite(loss):
        raise ValueError(
            "The loss of the language model must stay finite. Received: "
            f"{loss}. Lower `text.scratch.learning_rate` "
            f"({scratch.learning_rate})."
        )
    return {
        "num_texts": len(texts),
        "num_steps": num_steps,
        "seconds": round(time.monotonic() - started, 1),
        "loss": round(float(loss), 4),
        "accuracy": round(float(accuracy), 4),
    }


def learning_rate_factor(step: int, num_steps: int) -> float:
    """Returns the share of the rate: up over a tenth of the steps, then down to 0."""
    warm_up = max(int(num_steps * _WARM_UP_SHARE), 1)
    return min((step + 1) / warm_up, (num_steps - step) / max(num_steps - warm_up, 1))


def hide_tokens(
    token_ids: np.ndarray,
    lengths: np.ndarray,
    *,
    mask_share: float,
    mask_id: int,
    num_tokens: int,
    num_special: int,
    rng: np.random.Generator,
) -> MaskedBatch:
    """Hides a share of the words of each text, at least one; never its end marks.

    Args:
        token_ids: int32 `[batch_size, num_tokens]`, [CLS] first, [SEP] last.
        lengths: int `[batch_size]`, at least 3.
        mask_share: Of the words.
        mask_id: Id of [MASK].
        num_tokens: Size of the vocabulary.
        num_special: Ids below it are no words.
        rng: Chooses.
    """
    places = np.arange(token_ids.shape[1])
    is_word = (places > 0) & (places < lengths[:, np.newaxis] - 1)
    order = np.where(is_word, rng.random(token_ids.shape), 2.0)
    num_hidden = np.maximum(np.round(mask_share * (lengths - 2)), 1)
    ranks = order.argsort(axis=1).argsort(axis=1)
    positions = np.argwhere(is_word & (ranks < num_hidden[:, np.newaxis]))
    labels = token_ids[tuple(positions.T)]
    choice = rng.random(len(labels))
    random_ids = rng.integers(min(num_special, num_tokens - 1), num_tokens, len(labels))
    replaced = np.where(choice < _MASK_SHARE + _RANDOM_SHARE, random_ids, labels)
    replaced = np.where(choice < _MASK_SHARE, mask_id, replaced)
    hidden = token_ids.copy()
    hidden[tuple(positions.T)] = replaced
    padding_mask = places < lengths[:, np.newaxis]
    return MaskedBatch(hidden, padding_mask, positions.astype(np.int32), labels)


def _token_rows(
    tokenizer: WordPieceTokenizer, texts: Sequence[str]
) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    for start in range(0, len(texts), _TOKENIZED_TOGETHER):
        batch = [text.encode() for text in texts[start : start + _TOKENIZED_TOGETHER]]
        tokens = tokenizer(tf.constant(batch))
        pairs = zip(tokens.token_ids.numpy(), tokens.padding_mask.numpy(), strict=True)
        rows += [token_ids[mask] for token_ids, mask in pairs if mask.any()]
    return rows


def _batches(
    rows: list[np.ndarray],
    tokenizer: WordPieceTokenizer,
    config: TextConfig,
    rng: np.random.Generator,
) -> Iterator[MaskedBatch]:
    """Yields epoch after epoch, texts of like length together."""
    lengths = np.asarray([len(row) for row in rows])
    batch_size = config.scratch.batch_size
    mask_id = tokenizer.vocabulary.index("[MASK]")
    while True:
        order = rng.permutation(len(rows))
        groups: list[np.ndarray] = []
        for start in range(0, len(order), batch_size * _BATCHES_SORTED_TOGETHER):
            shard = order[start : start + batch_size * _BATCHES_SORTED_TOGETHER]
            shard = shard[np.argsort(lengths[shard], kind="stable")]
            groups += np.split(shard, range(batch_size, len(shard), batch_size))
        for group in rng.permutation(len(groups)):
            chosen = groups[group]
            width = lengths[chosen].max()
            token_ids = np.full((len(chosen), width), tokenizer.pad_id, np.int32)
            for place, row in enumerate(chosen):
                token_ids[place, : lengths[row]] = rows[row]
            yield hide_tokens(
                token_ids,
                lengths[chosen],
                mask_share=config.scratch.mask_share,
                mask_id=mask_id,
                num_tokens=len(tokenizer.vocabulary),
                num_special=mask_id + 1,
                rng=rng,
            )


def _step_function(model: Any, optimizer: Any) -> Any:
    variables = [v for v in model.trainable_variables if "pooler" not in v.name]
    optimizer.build(variables)
    table, pair, flat = [None, None], [None, 2], [None]
    signature = [
        tf.TensorSpec(table, tf.int32),
        tf.TensorSpec(table, tf.bool),
        tf.TensorSpec(pair, tf.int32),
        tf.TensorSpec(flat, tf.int32),
        tf.TensorSpec([], tf.int32),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def step(
        token_ids: tf.Tensor,
        padding_mask: tf.Tensor,
        positions: tf.Tensor,
        labels: tf.Tensor,
        offset: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            states = model.bert(
                input_ids=token_ids,
                attention_mask=tf.cast(padding_mask, tf.int32),
                position_ids=offset + tf.range(tf.shape(token_ids)[1])[tf.newaxis],
                training=True,
            ).last_hidden_state
            # The vocabulary is wide: only what was hidden is guessed.
            hidden = tf.gather_nd(states, positions)[tf.newaxis]
            logits = model.mlm(sequence_output=hidden, training=True)[0]
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            )
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        guessed = tf.argmax(logits, axis=1, output_type=tf.int32) == labels
        return tf.stack([loss, tf.reduce_mean(tf.cast(guessed, tf.float32))])

    return step


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps, {task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
