"""A SavedModel with the real signatures and answers that a test can work out.

The catalogue is item-0 ... item-5; odd items have the brand "odd", even ones
"even". The score of item j is `6 - j + 10 * (times item j is in the history)`,
the retrieval score is the score plus 1000 times the version. The probability
of `view` is the summed dwell, of `purchase` the numeric context `hour` (-1 if
not said). A country "XX" sets every score to 0.5. The vector of a query is the
length of its history and the number of letters of its search; of a text, 0 and
its letters.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tests.serving.toy_schema import SHOP_SCHEMA
from tfrec.schema import (
    FeatureSpec,
    Schema,
    SignatureName,
)

NUM_ITEMS = 6
_ITEM_IDS = tf.constant([f"item-{i}" for i in range(NUM_ITEMS)])
_BRANDS = tf.constant(["even", "odd"] * (NUM_ITEMS // 2))


def write_toy_model(path: Path, *, version: int, schema: Schema = SHOP_SCHEMA) -> Path:
    """Writes `<path>/<version>` under another name first, then renames it."""
    module = tf.Module()
    functions = {
        name.value: _as_signature(_BODIES[name](version), schema.signature_inputs(name))
        for name in schema.signatures
    }
    functions["serving_default"] = functions["recommend"]
    functions["echo"] = _ECHO
    functions["slow"] = _SLOW
    temporary = path / f"writing-{version}"
    tf.saved_model.save(module, str(temporary), signatures=functions)
    return temporary.rename(path / str(version))


def _as_signature(
    body: Callable[..., dict[str, tf.Tensor]], inputs: tuple[FeatureSpec, ...]
) -> Callable[..., dict[str, tf.Tensor]]:
    specs = {
        f.name: tf.TensorSpec([None] * (1 + len(f.shape)), tf.as_dtype(f.dtype), f.name)
        for f in inputs
    }
    function = tf.function(lambda **kwargs: body(kwargs))
    return function.get_concrete_function(**specs)


def _is_in(lists: tf.Tensor) -> tf.Tensor:
    """Returns int32 `[batch_size, num_items]`: how often each item is listed."""
    found = tf.equal(lists[:, :, None], _ITEM_IDS[None, None, :])
    return tf.reduce_sum(tf.cast(found, tf.int32), 1)


def _catalogue_scores(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    seen = _is_in(inputs["history_item_ids"])
    base = tf.cast(NUM_ITEMS - tf.range(NUM_ITEMS), tf.float32)[None, :]
    scores = base + 10.0 * tf.cast(seen, tf.float32)
    if "context_country" in inputs:
        flat = tf.equal(inputs["context_country"], "XX")[:, None]
        scores = tf.where(flat, tf.fill(tf.shape(scores), 0.5), scores)
    removed = _is_in(inputs["exclude_item_ids"]) > 0
    removed |= (seen > 0) & inputs["exclude_seen"][:, None]
    if "filter_brand" in inputs:
        said = tf.reduce_any(inputs["filter_brand"] != "", 1, keepdims=True)
        allowed = tf.reduce_any(
            tf.equal(inputs["filter_brand"][:, :, None], _BRANDS[None, None, :]), 1
        )
        removed |= said & ~allowed
    return tf.where(removed, tf.fill(tf.shape(scores), float("-inf")), scores)


def _top(scores: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns ids and scores `[batch_size, max k]`, padded with "" and -inf."""
    width = tf.reduce_max(k)
    values, indices = tf.math.top_k(scores, tf.minimum(width, NUM_ITEMS))
    paddings = tf.stack([[0, 0], tf.stack([0, width - tf.shape(values)[1]])])
    values = tf.pad(values, paddings, constant_values=float("-inf"))
    indices = tf.pad(indices, paddings)
    real = (tf.range(width)[None, :] < k[:, None]) & (values > float("-inf"))
    item_ids = tf.where(real, tf.gather(_ITEM_IDS, indices), "")
    return item_ids, tf.where(real, values, float("-inf"))


def _heads(inputs: dict[str, tf.Tensor], places: tf.Tensor) -> dict[str, tf.Tensor]:
    dwell = tf.reduce_sum(inputs["history_dwell_seconds"], 1)
    hour = inputs.get("context_hour", tf.ones_like(dwell) * float("nan"))
    hour = tf.where(hour != hour, -1.0, hour)  # NaN is the number unequal to itself.
    ones = tf.ones_like(places)
    return {
        "view_probability": ones * dwell[:, None],
        "purchase_probability": ones * hour[:, None],
    }


def _recommend(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        item_ids, scores = _top(_catalogue_scores(inputs), inputs["k"])
        return {
            "item_ids": item_ids,
            "scores": scores,
            "retrieval_scores": scores + 1000.0 * version,
            **_heads(inputs, scores),
        }

    return body


def _retrieve(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        item_ids, scores = _top(_catalogue_scores(inputs), inputs["k"])
        return {"item_ids": item_ids, "scores": scores}

    return body


def _rank(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        candidates = inputs["candidate_item_ids"]
        hits = tf.equal(candidates[:, :, None], _ITEM_IDS[None, None, :])
        scores = tf.reduce_sum(
            tf.where(hits, _catalogue_scores(inputs)[:, None, :], 0.0), 2
        )
        return {"scores": scores, **_heads(inputs, scores)}

    return body


def _similar_items(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        itself = _is_in(inputs["item_ids"][:, None]) > 0
        scores = tf.cast(NUM_ITEMS - tf.range(NUM_ITEMS), tf.float32)[None, :]
        scores = tf.where(itself, float("-inf"), scores)
        item_ids, scores = _top(scores, inputs["k"])
        return {"item_ids": item_ids, "scores": scores}

    return body


def _embed_query(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        is_event = tf.cast(inputs["history_item_ids"] != "", tf.float32)
        letters = _count_letters(inputs["query_text"])
        return {"embedding": tf.stack([tf.reduce_sum(is_event, 1), letters], 1)}

    return body


def _embed_text(version: int) -> Callable[..., dict[str, tf.Tensor]]:
    def body(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        letters = _count_letters(inputs["text"])
        return {"embedding": tf.stack([tf.zeros_like(letters), letters], 1)}

    return body


def _count_letters(texts: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(texts, unit="UTF8_CHAR"), tf.float32)


_BODIES = {
    SignatureName.RECOMMEND: _recommend,
    SignatureName.RETRIEVE: _retrieve,
    SignatureName.RANK: _rank,
    SignatureName.SIMILAR_ITEMS: _similar_items,
    SignatureName.EMBED_QUERY: _embed_query,
    SignatureName.EMBED_TEXT: _embed_text,
}


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.string, "strings"),
        tf.TensorSpec([None, None], tf.int64, "longs"),
        tf.TensorSpec([None, None], tf.int32, "integers"),
        tf.TensorSpec([None, None], tf.float32, "floats"),
        tf.TensorSpec([None, None], tf.bool, "booleans"),
    ]
)
def _ECHO(
    strings: tf.Tensor,
    longs: tf.Tensor,
    integers: tf.Tensor,
    floats: tf.Tensor,
    booleans: tf.Tensor,
) -> dict[str, tf.Tensor]:
    return {
        "strings": tf.identity(strings),
        "longs": tf.identity(longs),
        "integers": tf.identity(integers),
        "floats": tf.identity(floats),
        "booleans": tf.identity(booleans),
    }


@tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "steps")])
def _SLOW(steps: tf.Tensor) -> dict[str, tf.Tensor]:
    """Multiplies matrices for about a tenth of a millisecond a step."""
    matrix = tf.random.stateless_uniform([128, 128], (0, 0))
    for _ in tf.range(steps[0]):
        matrix = tf.nn.l2_normalize(tf.matmul(matrix, matrix), 1)
    return {"total": tf.reduce_sum(matrix)[None]}
