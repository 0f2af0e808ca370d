"""Trains one retrieval model a text encoder, and measures what each is good for."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig, TextConfig
from tfrec.data.held_out import HeldOutDataset
from tfrec.data.histories import gather_requests
from tfrec.data.prepare import prepare
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.evaluation.search import evaluate_search
from tfrec.features.request import Request, request_of
from tfrec.models.recommender import TrainedRecommender
from tfrec.run_lock import run_lock
from tfrec.run_record import write_json, write_run_record
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import TextReader
from tfrec.training.run import check_same_run, train_models
from tfrec.training.strategies import make_strategy

K = 10
SHARE_FILE = "hidden_share.json"
SPEED_TEXTS = 1024  # Of the catalogue, encoded to tell the speed.
LATENCY_CALLS = 200
REQUEST_CALLS = 30
WARM_UP_CALLS = 5


def compare_encoders(
    config: ExperimentConfig,
    encoders: Mapping[str, TextConfig | None],
    *,
    hidden_share: float,
    folder: Path,
) -> dict[str, dict[str, float | None]]:
    """Trains and measures; a finished encoder is read again, not trained again.

    Every model is a retrieval model without ranking, trained on the same data, from
    which `hidden_share` of the items are hidden until the test (`HeldOutDataset`).

    Args:
        config: The experiment; its own `text` and `ranking` are not used.
        encoders: Text configuration by name; None is the model of ids and
            attributes alone.
        hidden_share: Share of the items that are hidden.
        folder: Gets a run a model, and `comparison.json`.

    Returns:
        Per name: `NDCG@10` (targets that were not hidden), `cold_Recall@10` (hidden
        ones), `search_NDCG@10` (None without searches), `parameters`,
        `texts_per_second`, `ms_per_search` (its text is encoded), `ms_per_request` (a
        history and a search are answered), `megabytes`; None where there is no
        encoder, but for requests: they are answered without reading the search. An
        encoder that cannot read in the graph has neither speed nor searches.

    Raises:
        ValueError: If the folder holds runs of other settings.
    """
    configs = {
        name: config.model_copy(
            update={
                "name": name,
                "text": text,
                "ranking": None,
                "run_dir": folder / name,
            }
        )
        for name, text in encoders.items()
    }
    _check_same_share(folder / SHARE_FILE, hidden_share)
    for own in configs.values():  # All of them, before the first is trained.
        check_same_run(own, own.run_path)
    reading = [text for text in encoders.values() if text is not None]
    # Searches are kept if any of the encoders can read them.
    prepared = prepare(config.model_copy(update={"text": next(iter(reading), None)}))
    rows = {}
    for name, own in configs.items():
        dataset = HeldOutDataset(
            prepared.path, share=hidden_share, reads_searches=own.text is not None
        )
        with run_lock(own.run_path):
            write_run_record(own)
            recommender = train_models(own, dataset, make_strategy(own.training))
            rows[name] = measure(own, dataset, recommender)
        write_json(folder / "comparison.json", rows)
    return rows


def _check_same_share(path: Path, hidden_share: float) -> None:
    """Notes which share of the items is hidden, or checks that it is the same."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"hidden_share": hidden_share})
        return
    found = json.loads(path.read_text(encoding="utf-8"))["hidden_share"]
    if found != hidden_share:
        raise ValueError(
            f"'{path.parent}' holds models from which another share of the items was "
            f"hidden: {found}. Received: hidden_share={hidden_share}. Choose another "
            "folder, or delete it."
        )


def measure(
    config: ExperimentConfig, dataset: HeldOutDataset, recommender: TrainedRecommender
) -> dict[str, float | None]:
    """Measures one trained model, see `compare_encoders`."""
    sequences = dataset.load_sequences()
    settings = config.evaluation
    queries = build_queries(
        sequences, config.experiment_schema, split="test", targets=settings.targets
    )
    result = evaluate(
        [RetrievalScorer(recommender)],
        sequences,
        queries,
        train_counts=dataset.item_vocabulary.counts,
        ks=(K,),
        exclude_seen=settings.exclude_seen,
        num_bootstrap=10,
        seed=config.seed,
    ).to_json()
    cold = result["scorers"]["retrieval"]["slices"]["item_popularity"].get("cold")
    return {
        f"NDCG@{K}": _of_known_items(recommender, dataset, sequences, queries, config),
        f"cold_Recall@{K}": None if cold is None else cold[f"Recall@{K}"],
        f"search_NDCG@{K}": _search(config, dataset, sequences, recommender),
        **_cost(recommender, config.text),
        "ms_per_request": _ms_per_request(recommender, sequences, queries),
    }


def _of_known_items(
    recommender: TrainedRecommender,
    dataset: HeldOutDataset,
    sequences: EventSequences,
    queries: EvaluationQueries,
    config: ExperimentConfig,
) -> float:
    """NDCG of the queries whose positives were all known to training."""
    hidden = dataset.is_hidden[queries.positive_items]
    number = np.bincount(
        queries.query_of_positive[hidden], minlength=queries.num_queries
    )
    result = evaluate(
        [RetrievalScorer(recommender)],
        sequences,
        queries.take(np.flatnonzero(number == 0)),
        train_counts=dataset.item_vocabulary.counts,
        ks=(K,),
        exclude_seen=config.evaluation.exclude_seen,
        num_bootstrap=10,
        seed=config.seed,
    ).to_json()
    return result["scorers"]["retrieval"]["metrics"][f"NDCG@{K}"]


def _search(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    sequences: EventSequences,
    recommender: TrainedRecommender,
) -> float | None:
    found = evaluate_search(config, dataset, sequences, recommender, split="test")
    if found is None:
        return None
    return found["scorers"]["retrieval"]["metrics"][f"NDCG@{K}"]


def _cost(
    recommender: TrainedRecommender, settings: TextConfig | None
) -> dict[str, float | None]:
    encoder = recommender.text_encoder
    if encoder is None:
        return {"parameters": None, "megabytes": None, **_speed(None, settings)}
    weights = encoder.weights
    num_bytes = sum(w.shape.num_elements() * w.dtype.size for w in weights)
    kept = recommender.num_items + NUM_SPECIAL_INDICES
    return {
        "parameters": float(sum(w.shape.num_elements() for w in weights)),
        "megabytes": (num_bytes + 4 * kept * encoder.text_dim) / 1e6,
        **_speed(recommender.text_reader, settings),
    }


def _speed(
    reader: TextReader | None, settings: TextConfig | None
) -> dict[str, float | None]:
    if reader is None or settings is None:
        return {"texts_per_second": None, "ms_per_search": None}
    texts = [text for text in dict.fromkeys(reader.item_texts) if text][:SPEED_TEXTS]
    encode = tf.function(
        reader.encoder.encode,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    encode(tf.constant(texts[:8]))
    times = []
    for text in np.resize(np.array(texts, object), LATENCY_CALLS):
        query = tf.constant([text])
        started = time.perf_counter()
        encode(query)
        times.append(time.perf_counter() - started)
    return {
        "texts_per_second": _texts_per_second(reader.encoder, texts, settings),
        "ms_per_search": 1e3 * float(np.median(times)),
    }


def _texts_per_second(
    encoder: TextEncoder, texts: Sequence[str], settings: TextConfig
) -> float:
    """Texts a second into an empty cache, batched by length as training does.

    The graph is traced before: it takes as long for one text as for all.
    """
    encoder.graph_call(*map(tf.constant, encoder.numpy_tokenize(texts[:8])))
    with tempfile.TemporaryDirectory(prefix="tfrec-texts-") as folder:
        started = time.perf_counter()
        encode_cached(
            encoder, texts, folder=Path(folder), batch_tokens=settings.batch_tokens
        )
        return len(texts) / (time.perf_counter() - started)


def _ms_per_request(
    recommender: TrainedRecommender,
    sequences: EventSequences,
    queries: EvaluationQueries,
) -> float:
    """Median time of one request in the graph: history and search in, best items out.

    Text is read as in an exported model: in the graph, without the cache.
    """
    reader = recommender.text_reader
    texts = [] if reader is None else [text for text in reader.item_texts if text]
    num_calls = WARM_UP_CALLS + REQUEST_CALLS
    searches = np.resize(np.array(texts or [""], object), num_calls)
    rows = np.resize(np.arange(queries.num_queries), num_calls)
    answer: Any = None
    times = []
    for search, row in zip(searches, rows, strict=True):
        inputs = (
            tf.constant([search]),
            _request(recommender, sequences, queries.take(np.array([row]))),
        )
        if answer is None:
            answer = _compiled_answer(recommender, inputs)
        started = time.perf_counter()
        answer(*inputs).numpy()
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times[WARM_UP_CALLS:]))


def _request(
    recommender: TrainedRecommender,
    sequences: EventSequences,
    queries: EvaluationQueries,
) -> Request:
    arrays = gather_requests(
        sequences,
        queries.user_rows,
        queries.history_ends,
        request_timestamps=queries.request_timestamps,
        context=queries.context,
        max_history_length=recommender.max_history_length,
        search_type_index=recommender.search_type_index,
    )
    return tf.nest.map_structure(tf.convert_to_tensor, request_of(arrays))


def _compiled_answer(
    recommender: TrainedRecommender, inputs: tuple[tf.Tensor, Request]
) -> Any:
    """Returns a function of inputs like these, of any length of history."""

    def answer(search: tf.Tensor, request: Request) -> tf.Tensor:
        request = request._replace(query_text=recommender.encode_texts(search))
        scores = recommender.retrieval_scores(request)
        return tf.math.top_k(scores, min(K, recommender.num_items)).indices

    specs = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype), inputs
    )
    return tf.function(answer, input_signature=specs, autograph=False)
