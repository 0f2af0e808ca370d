"""What the client does when the server does not do what it should."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from tfrec_client import (
    AsyncRecommenderClient,
    DeadlineExceededError,
    Event,
    InvalidRequestError,
    ModelNotReadyError,
    RecommenderClient,
    RecommenderError,
    SchemaMismatchError,
)
from tfrec_client import wire_pb2 as wire
from tfrec_client.contract import CONTRACT, Signature, TensorSpec
from tfrec_client.tensors import encode_tensor

from tests.serving.client.fake_server import Answer, FakeServing, serve

OUTPUTS = {
    "item_ids": np.array([["a"]], object),
    "scores": np.array([[1.0]], np.float32),
    "retrieval_scores": np.array([[2.0]], np.float32),
}


def good_answer() -> wire.PredictResponse:
    response = wire.PredictResponse()
    for name, array in OUTPUTS.items():
        encode_tensor(array, response.outputs[name])
    return response


def with_inputs(**extra: TensorSpec) -> dict[str, Signature]:
    return {
        name: Signature(
            {**s.inputs, **(extra if name != "similar_items" else {})}, s.outputs
        )
        for name, s in CONTRACT.items()
    }


@contextmanager
def client_of(fake: FakeServing, **options: Any) -> Iterator[RecommenderClient]:
    arguments = {"model_name": "m", "timeout_seconds": 10.0, **options}
    with serve(fake) as target:
        client = RecommenderClient(target, **arguments)
        try:
            yield client
        finally:
            client.close()


def unavailable_until(call: int) -> FakeServing:
    def answer(number: int, _: wire.PredictRequest) -> Answer:
        return (
            good_answer() if number >= call else (grpc.StatusCode.UNAVAILABLE, "busy")
        )

    return FakeServing([CONTRACT], answer)


def test_an_unavailable_server_is_tried_again() -> None:
    fake = unavailable_until(3)
    with client_of(fake, max_retries=2) as client:
        assert [r.item_id for r in client.recommend([])] == ["a"]
    assert len(fake.requests) == 3


def test_retries_end() -> None:
    fake = unavailable_until(3)
    with client_of(fake, max_retries=1) as client:
        with pytest.raises(ModelNotReadyError, match="UNAVAILABLE: busy") as caught:
            client.recommend([])
        assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert len(fake.requests) == 2


def test_no_retries_means_one_attempt() -> None:
    fake = unavailable_until(2)
    with client_of(fake, max_retries=0) as client, pytest.raises(ModelNotReadyError):
        client.recommend([])
    assert len(fake.requests) == 1


def test_retries_stay_within_the_deadline() -> None:
    fake = unavailable_until(100)
    with client_of(fake, max_retries=4) as client:
        client.check_schema()
        start = time.monotonic()
        with pytest.raises((DeadlineExceededError, ModelNotReadyError)):
            client.recommend([], timeout_seconds=0.3)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, ModelNotReadyError),
        (grpc.StatusCode.FAILED_PRECONDITION, ModelNotReadyError),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (grpc.StatusCode.INTERNAL, RecommenderError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, RecommenderError),
    ],
)
def test_other_failures_are_not_tried_again(
    status: grpc.StatusCode, error: type[RecommenderError]
) -> None:
    fake = FakeServing([CONTRACT], lambda *_: (status, "the reason"))
    expected = pytest.raises(RecommenderError, match="the reason")
    with client_of(fake) as client, expected as caught:
        client.recommend([])
    assert type(caught.value) is error
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert len(fake.requests) == 1


def test_a_deadline_that_passes_is_an_error_of_its_own() -> None:
    def answer(number: int, _: wire.PredictRequest) -> Answer:
        time.sleep(0.5)
        return good_answer()

    with client_of(FakeServing([CONTRACT], answer)) as client:
        client.check_schema()
        with pytest.raises(DeadlineExceededError, match=r"after 0\.05 s") as caught:
            client.recommend([], timeout_seconds=0.05)
    assert isinstance(caught.value, TimeoutError)


def test_a_server_that_accepts_and_never_speaks_has_the_default_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        client = RecommenderClient(target, model_name="m")
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError, match="after 1 s"):
            client.recommend([])
        assert time.monotonic() - start < 3
        client.close()


@pytest.mark.parametrize("target", ["", "http://127.0.0.1:8500", "https://models"])
def test_a_target_that_is_none_is_an_invalid_request(target: str) -> None:
    with pytest.raises(InvalidRequestError, match="`host:port`, without http"):
        RecommenderClient(target, model_name="m")


def test_a_server_that_is_not_there_is_named() -> None:
    with serve(FakeServing([CONTRACT], lambda *_: good_answer())) as target:
        pass  # The port was free a moment ago, and nobody listens now.
    client = RecommenderClient(target, model_name="m", max_retries=1)
    with pytest.raises(ModelNotReadyError, match=f"{target} answered UNAVAILABLE"):
        client.recommend([])
    client.close()


def test_a_schema_mismatch_lists_every_difference_on_entry() -> None:
    signatures = with_inputs(user_id=TensorSpec("string", 1))
    del signatures["similar_items"]
    fake = FakeServing([signatures], lambda *_: good_answer())
    with serve(fake) as target:
        with pytest.raises(SchemaMismatchError) as caught:
            RecommenderClient(target, model_name="m").__enter__()
        text = str(caught.value)
        assert "signature `similar_items` is missing" in text
        assert text.count("`user_id` (string, rank 1) is not known") == 4
    assert fake.requests == []


def test_only_the_signatures_in_use_are_demanded() -> None:
    signatures = {"recommend": CONTRACT["recommend"]}
    fake = FakeServing([signatures], lambda *_: good_answer())
    with client_of(fake, signatures=["recommend"]) as client:
        assert len(client.recommend([])) == 1
        with pytest.raises(SchemaMismatchError, match="cannot answer `retrieve`"):
            client.retrieve([])


def test_a_model_without_texts_says_what_to_do_when_one_is_embedded() -> None:
    signatures = {n: s for n, s in CONTRACT.items() if n != "embed_text"}
    fake = FakeServing([signatures], lambda *_: good_answer())
    with client_of(fake) as client:
        with pytest.raises(SchemaMismatchError, match="`embed_text`.*reads no texts"):
            client.embed_text(["lamp"])
        assert fake.requests == []
        assert len(client.recommend([])) == 1


def test_the_schema_is_asked_for_once() -> None:
    fake = FakeServing([CONTRACT], lambda *_: good_answer())
    with client_of(fake) as client:
        client.recommend([])
        client.recommend([])
    assert fake.num_metadata_calls == 1


def test_a_version_with_new_context_is_learnt_when_it_comes() -> None:
    """The second version wants `context_country`: the first call to it fails."""

    def answer(number: int, request: wire.PredictRequest) -> Answer:
        if number > 1 and "context_country" not in request.inputs:
            return grpc.StatusCode.INVALID_ARGUMENT, "input size does not match"
        return good_answer()

    grown = with_inputs(context_country=TensorSpec("string", 1))
    fake = FakeServing([CONTRACT, grown], answer)
    with client_of(fake) as client:
        client.recommend([])
        assert len(client.recommend([])) == 1
    assert fake.num_metadata_calls == 2
    assert fake.requests[-1].inputs["context_country"].string_val == [b""]


def test_the_async_client_raises_the_same_errors() -> None:
    async def ask(target: str) -> None:
        async with AsyncRecommenderClient(
            target, model_name="m", timeout_seconds=10, max_retries=2
        ) as client:
            await client.recommend([Event("a", "view", 1)])

    fake = unavailable_until(3)
    with serve(fake) as target:
        asyncio.run(ask(target))
    assert len(fake.requests) == 3
    refusing = FakeServing([CONTRACT], lambda *_: (grpc.StatusCode.NOT_FOUND, "no m"))
    expected = pytest.raises(ModelNotReadyError, match="no m")
    with serve(refusing) as target, expected as caught:
        asyncio.run(ask(target))
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": 1, "label": "x"}, "Only one of `version` and `label`"),
        ({"timeout_seconds": 0}, "`timeout_seconds` must be more than 0"),
        ({"timeout_seconds": float("inf")}, "finite"),
        ({"max_retries": 5}, "`max_retries` must be 0 to 4"),
        ({"signatures": ["recomend"]}, "`signatures` must be of"),
    ],
)
def test_arguments_out_of_range_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        RecommenderClient("127.0.0.1:1", model_name="m", **options)


def test_a_closed_client_says_that_it_is_closed() -> None:
    with client_of(FakeServing([CONTRACT], lambda *_: good_answer())) as client:
        client.recommend([])
    with pytest.raises(InvalidRequestError, match="client was closed"):
        client.recommend([])

    async def ask_a_closed_one(target: str) -> None:
        client = AsyncRecommenderClient(target, model_name="m")
        await client.close()
        with pytest.raises(InvalidRequestError, match="client was closed"):
            await client.recommend([])

    with serve(FakeServing([CONTRACT], lambda *_: good_answer())) as target:
        asyncio.run(ask_a_closed_one(target))
