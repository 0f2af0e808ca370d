"""Swapping, failing, stopping: the life of a server with real models."""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from tfrec_client import Event, RecommenderClient, RecommenderError
from tfrec_client.codec import encode_requests
from tfrec_client.requests import RecommendationRequest
from tfrec_client.transport import Connection

from serving.server.errors import ModelLoadError
from serving.server.model_config import ServedModel
from serving.server.server import EmbeddedServer
from tests.serving.toy_model import write_toy_model
from tests.serving.toy_schema import PLAIN_SCHEMA

HISTORY = [Event("item-4", "view", 100)]


@pytest.fixture
def base_path(toy_base_path: Path, tmp_path: Path) -> Path:
    """A copy of version 1, to which a test adds versions."""
    shutil.copytree(toy_base_path, tmp_path / "toy")
    return tmp_path / "toy"


def start(base_path: Path, **options: float) -> EmbeddedServer:
    model = ServedModel("toy", base_path)
    return EmbeddedServer([model], poll_seconds=0.05, **options)  # pyright: ignore


def connect(server: EmbeddedServer) -> RecommenderClient:
    return RecommenderClient(
        server.target, model_name="toy", timeout_seconds=20, max_retries=0
    )


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.02)


def state_of(client: RecommenderClient, version: int) -> str:
    return {s.version: s.state for s in client.status()}.get(version, "")


def test_a_hot_swap_drops_no_request(base_path: Path) -> None:
    stop = threading.Event()

    def ask(client: RecommenderClient) -> list[int]:
        versions = []
        while not stop.is_set():
            (best,) = client.recommend(HISTORY, k=1)
            assert (best.item_id, best.score) == ("item-4", 12.0)
            versions.append(round((best.retrieval_score - best.score) / 1000))
        return versions

    with start(base_path) as server, connect(server) as client:
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(ask, client) for _ in range(4)]
            try:
                for version in (2, 3):
                    write_toy_model(base_path, version=version)
                    wait_until(lambda v=version: state_of(client, v) == "AVAILABLE")
                    wait_until(lambda v=version: state_of(client, v - 1) == "END")
            finally:
                stop.set()
        seen = [job.result() for job in jobs]  # Raises what a request raised.
    for versions in seen:
        # Each thread's answers come from 1, then 2, then 3, and never go back.
        assert versions == sorted(versions)
        assert set(versions) == {1, 2, 3}


def test_a_broken_version_keeps_the_old_one_serving(base_path: Path) -> None:
    broken = base_path / "writing"
    shutil.copytree(base_path / "1", broken)
    (broken / "saved_model.pb").write_bytes(b"not a model")
    with start(base_path) as server, connect(server) as client:
        broken.rename(base_path / "2")
        wait_until(lambda: state_of(client, 2) == "END")
        failed, serving = client.status()
        assert "toy` version 2" in failed.error_message
        assert (serving.version, serving.state) == (1, "AVAILABLE")
        assert client.recommend([], k=1)[0].retrieval_score == 1006.0
        write_toy_model(base_path, version=3)
        wait_until(lambda: state_of(client, 3) == "AVAILABLE")
        assert client.recommend([], k=1)[0].retrieval_score == 3006.0


def test_a_version_with_other_inputs_is_swapped_in(base_path: Path) -> None:
    with start(base_path) as server, connect(server) as client:
        assert client.recommend([], context={"hour": 2.0})[0].score == 6.0
        write_toy_model(base_path, version=2, schema=PLAIN_SCHEMA)
        wait_until(lambda: state_of(client, 1) == "END")
        # This client filled context and filters of version 1 until now.
        assert client.recommend([])[0].retrieval_score == 2006.0


def write_warmup(path: Path, request: RecommendationRequest, version: int) -> None:
    from tfrec_client.contract import TensorSpec

    from tests.serving.toy_schema import SHOP_SCHEMA
    from tfrec.schema import SignatureName

    inputs = {
        f.name: TensorSpec(f.dtype, 1 + len(f.shape))
        for f in SHOP_SCHEMA.signature_inputs(SignatureName.RECOMMEND)
    }
    arrays = encode_requests([request], inputs)
    if version < 0:
        arrays.pop("k")
    message = Connection("x", "toy").predict_request("recommend", arrays)
    log = prediction_log_pb2.PredictionLog()  # pyright: ignore
    log.predict_log.request.CopyFrom(
        predict_pb2.PredictRequest.FromString(message.SerializeToString())  # pyright: ignore
    )
    (path / "assets.extra").mkdir(exist_ok=True)
    warmup = path / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        writer.write(log.SerializeToString())


def test_warm_up_requests_are_replayed_before_a_version_serves(base_path: Path) -> None:
    write_warmup(base_path / "1", RecommendationRequest(HISTORY), 1)
    with start(base_path) as server, connect(server) as client:
        assert len(client.recommend([])) == 6
    write_warmup(base_path / "1", RecommendationRequest(HISTORY), -1)
    with pytest.raises(ModelLoadError, match="Missing but required: {k}"):
        start(base_path).start()


def test_a_model_without_versions_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(
        ModelLoadError, match=r"folder named by a number.*Received: \[\]"
    ):
        start(tmp_path / "missing").start()


def test_a_port_in_use_is_an_error_before_models_are_loaded(base_path: Path) -> None:
    with start(base_path) as server:
        # Loading would be a ModelLoadError.
        for port in (server.port, 70_000):
            other = start(base_path / "missing", port=port)
            message = f"Cannot listen on 127.0.0.1:{port}: .*choose another port"
            with pytest.raises(OSError, match=message):
                other.start()


def refuses(client: RecommenderClient) -> bool:
    try:
        client.recommend([])
    except RecommenderError:
        return True
    return False


def test_a_stop_lets_running_requests_end_and_refuses_new_ones(base_path: Path) -> None:
    server = start(base_path, grace_seconds=30)
    server.start()
    client = connect(server)
    channel = grpc.insecure_channel(server.target)
    health: Any = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    started = threading.Event()

    def ask_slowly() -> dict[str, np.ndarray]:
        started.set()
        return client.predict("slow", {"steps": np.array([4000], np.int32)})

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(ask_slowly)
        started.wait()
        time.sleep(0.1)  # Until the request has reached the server.
        stopping = pool.submit(server.stop)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(watch) == []  # Ended, so that nobody has to wait for it.
        wait_until(lambda: refuses(client))
        assert np.isfinite(slow.result()["total"]).all()
        stopping.result(timeout=10)
    server.stop()  # Once more does nothing.
    server.wait()
    client.close()
    channel.close()


def test_many_threads_get_their_own_answers(server: EmbeddedServer) -> None:
    def ask(client: RecommenderClient, number: int) -> None:
        item_id = f"item-{number % 6}"
        for _ in range(20):
            history = [Event(item_id, "view", 1, float(number))]
            (best,) = client.recommend(history, k=1)
            assert best.item_id == item_id
            assert best.probabilities["view"] == number

    with connect(server) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, [client] * 8, range(8)))
