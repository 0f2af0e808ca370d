import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tfrec_client import Event, ModelNotReadyError, RecommendationRequest
from tfrec_client import wire_pb2 as wire
from tfrec_client.contract import CONTRACT
from tfrec_client.tensors import encode_tensor

from serving.load_test import draw_requests, main, run_load_test
from tests.serving.client.fake_server import Answer, FakeServing, serve
from tests.synthetic import make_sequences, write_prepared

if TYPE_CHECKING:
    from serving.server.server import EmbeddedServer

REQUESTS = [
    RecommendationRequest([Event("a", "view", 1)], k=1),
    RecommendationRequest([], k=1),
]
NUM_WARMUP = 20


def answer_slowly(seconds: float, *, fail_every: int = 0) -> FakeServing:
    def answer(number: int, _: wire.PredictRequest) -> Answer:
        time.sleep(seconds)
        if fail_every and number > NUM_WARMUP and number % fail_every == 0:
            return grpc.StatusCode.INTERNAL, "sick"
        response = wire.PredictResponse()
        encode_tensor(np.array([["a"]], object), response.outputs["item_ids"])
        for name in ("scores", "retrieval_scores"):
            encode_tensor(np.ones((1, 1), np.float32), response.outputs[name])
        return response

    return FakeServing([CONTRACT], answer)


def test_every_request_is_sent_once_and_timed() -> None:
    ticks = []
    fake = answer_slowly(0.01)
    with serve(fake) as target:
        result = run_load_test(
            target,
            model_name="m",
            requests=REQUESTS,
            num_requests=30,
            concurrency=2,
            on_progress=lambda: ticks.append(1),
        )
    assert (result.requests, result.errors, len(ticks)) == (30, 0, 30)
    assert len(fake.requests) == 30 + NUM_WARMUP
    assert 10 <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert result.requests_per_second == pytest.approx(30 / result.seconds)
    # Two at a time, 10 ms each: at most 200 a second.
    assert result.requests_per_second <= 200
    histories = {
        bytes(r.inputs["history_item_ids"].string_val[0]) for r in fake.requests
    }
    assert histories == {b"a", b""}


def test_errors_are_counted_by_message() -> None:
    with serve(answer_slowly(0, fail_every=10)) as target:
        result = run_load_test(
            target, model_name="m", requests=REQUESTS, num_requests=50, concurrency=1
        )
    # Calls 21 to 70; 30, 40, 50, 60 and 70 fail.
    assert (result.requests, result.errors) == (50, 5)
    ((message, count),) = result.error_messages.items()
    assert "INTERNAL: sick" in message
    assert count == 5


def test_the_time_is_bounded() -> None:
    start = time.monotonic()
    with serve(answer_slowly(0.01)) as target:
        result = run_load_test(
            target,
            model_name="m",
            requests=REQUESTS,
            num_requests=100_000,
            concurrency=2,
            max_seconds=0.3,
        )
    assert time.monotonic() - start < 10
    assert 0 < result.requests < 100_000


def test_arguments_out_of_range_and_missing_servers_are_errors() -> None:
    with pytest.raises(ValueError, match="num_requests=0"):
        run_load_test("x:1", model_name="m", requests=REQUESTS, num_requests=0)
    with pytest.raises(ValueError, match="Received: 0 requests"):
        run_load_test("x:1", model_name="m", requests=[])
    with serve(answer_slowly(0)) as target:
        pass
    with pytest.raises(ModelNotReadyError):
        run_load_test(target, model_name="m", requests=REQUESTS)


def test_the_command_prints_a_table(
    server: "EmbeddedServer", capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--target", server.target, "--model", "toy"]
    assert main([*where, "--requests", "20", "--concurrency", "2"]) == 0
    assert "p99 ms" in capsys.readouterr().out
    assert main([*where, "--requests", "0"]) == 1
    assert "num_requests=0" in capsys.readouterr().err


def test_histories_are_drawn_from_the_catalogue_by_seed(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    write_prepared(prepared, make_sequences([[0, 1, 2], [1, 2, 3]]), num_items=4)

    def draw(seed: int) -> list[list[str]]:
        requests = draw_requests(prepared, k=3, history_length=4, seed=seed)
        assert {(r.k, len(r.history)) for r in requests} == {(3, 4)}
        return [[event.item_id for event in r.history] for r in requests]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert {i for history in draw(1) for i in history} == {
        f"item {i}" for i in range(4)
    }
