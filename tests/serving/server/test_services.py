"""The server speaks with the stubs and messages of tensorflow-serving-api."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server.server import EmbeddedServer


@pytest.fixture(scope="module")
def channel(server: EmbeddedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def prediction(channel: grpc.Channel) -> Any:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel: grpc.Channel) -> Any:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def similar_request(
    change: Callable[[Any], object] = lambda _: None,
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = "similar_items"
    request.inputs["item_ids"].CopyFrom(tf.make_tensor_proto(["item-0", "item-5"]))
    request.inputs["k"].CopyFrom(tf.make_tensor_proto([2, 1], tf.int32))
    change(request)
    return request


def fails(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code(), caught.value.details()  # pyright: ignore


def test_predict_answers_as_tensorflow_serving_does(prediction: Any) -> None:
    response = prediction.Predict(similar_request(), timeout=20)
    assert response.model_spec.name == "toy"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "similar_items"
    assert tf.make_ndarray(response.outputs["item_ids"]).tolist() == [
        [b"item-1", b"item-2"],
        [b"item-0", b""],
    ]
    assert list(response.outputs["scores"].float_val) == [5, 4, 6, float("-inf")]


def test_the_default_signature_is_recommend(prediction: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    request.model_spec.name = "toy"
    response = prediction.GetModelMetadata(request, timeout=20)
    assert response.model_spec.version.value == 1
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    signatures = found.signature_def
    assert {"recommend", "retrieve", "rank", "similar_items"} <= set(signatures)
    default = signatures["serving_default"]
    assert set(default.inputs) == set(signatures["recommend"].inputs)
    code, message = fails(
        prediction.Predict,
        similar_request(lambda r: r.model_spec.ClearField("signature_name")),
    )
    # Asked without a name, `recommend` misses its inputs.
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "Missing but required: {context_country," in message


def set_input(name: str, values: Any, dtype: Any = None) -> Callable[[Any], object]:
    proto = tf.make_tensor_proto(values, dtype)
    return lambda request: request.inputs[name].CopyFrom(proto)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            lambda r: r.ClearField("model_spec"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Missing ModelSpec",
        ),
        (
            lambda r: r.model_spec.ClearField("name"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            lambda r: setattr(r.model_spec, "name", "other"),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(other)",
        ),
        (
            lambda r: setattr(r.model_spec.version, "value", 9),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Specific(toy, 9)",
        ),
        (
            lambda r: setattr(r.model_spec, "version_label", "nope"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Unrecognized servable version label: nope",
        ),
        (
            lambda r: setattr(r.model_spec, "signature_name", "nope"),
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "nope" not found.',
        ),
        (
            lambda r: r.inputs.pop("k"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "input size does not match signature: 1!=2 len({item_ids}) != "
            "len({item_ids,k}). Sent extra: {}. Missing but required: {k}.",
        ),
        (
            set_input("k", [1, 2], tf.int64),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Input `k` of signature `similar_items` must have dtype int32. "
            "Received: int64.",
        ),
        (
            set_input("k", 1, tf.int32),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Input `k` of signature `similar_items` must have shape [-1] "
            "(-1 is any size). Received: [].",
        ),
        (
            lambda r: setattr(r.inputs["k"].tensor_shape.dim[0], "size", -2),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Input `k` of signature `similar_items` must have shape [-1] "
            "(-1 is any size). Received: [-2].",
        ),
        (
            lambda r: r.inputs["k"].ClearField("tensor_content"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "tensor parsing error: k: shape [2] needs 2 values, got 0",
        ),
        (
            lambda r: r.output_filter.append("nope"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "output tensor alias not found in signature: nope Outputs expected to be "
            "in the set {item_ids,scores}.",
        ),
        (
            lambda r: r.output_filter.extend(["scores", "scores"]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "duplicate output tensor alias: scores",
        ),
    ],
)
def test_a_wrong_request_gets_the_status_of_tensorflow_serving(
    prediction: Any,
    change: Callable[[Any], object],
    code: grpc.StatusCode,
    message: str,
) -> None:
    assert fails(prediction.Predict, similar_request(change)) == (code, message)


def test_what_the_graph_refuses_is_an_invalid_argument(prediction: Any) -> None:
    # k of -1 reaches `top_k`, which refuses it.
    request = similar_request(set_input("k", [-1, -1], tf.int32))
    code, message = fails(prediction.Predict, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    # Two ops refuse it, in no fixed order; either names the value.
    assert "k >= 0" in message or "0/-1" in message


def test_a_request_beyond_the_largest_message_is_refused(prediction: Any) -> None:
    request = similar_request(set_input("item_ids", ["x" * 2**21]))
    code, _ = fails(prediction.Predict, request)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_other_methods_are_not_offered(prediction: Any) -> None:
    for call, request in (
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
    ):
        assert fails(call, request)[0] == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_needs_a_known_field(prediction: Any) -> None:
    for fields, message in (
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        request.model_spec.name = "toy"
        assert fails(prediction.GetModelMetadata, request) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            message,
        )


def test_the_status_of_versions_can_be_asked_for(models: Any) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "toy"
    State = get_model_status_pb2.ModelVersionStatus.State
    for _ in range(2):
        (status,) = models.GetModelStatus(request, timeout=20).model_version_status
        assert (status.version, status.state) == (1, State.AVAILABLE)
        assert status.status.error_code == 0
        request.model_spec.version_label = "stable"
    request.model_spec.version.value = 3
    expected = "Could not find version 3 of model toy"
    assert fails(models.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND,
        expected,
    )
    request.model_spec.name = "other"
    expected = "Could not find any versions of model other"
    assert fails(models.GetModelStatus, request) == (
        grpc.StatusCode.NOT_FOUND,
        expected,
    )


def test_the_server_is_healthy_and_says_so_by_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "tensorflow.serving.PredictionService"):
        request = health_pb2.HealthCheckRequest(service=name)
        status = stub.Check(request, timeout=20).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    code, _ = fails(stub.Check, health_pb2.HealthCheckRequest(service="other"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_the_last_value_of_a_tensor_repeats(prediction: Any) -> None:
    def shorten(request: Any) -> None:
        request.inputs["k"].ClearField("tensor_content")
        request.inputs["k"].int_val.append(3)

    response = prediction.Predict(similar_request(shorten), timeout=20)
    assert tf.make_ndarray(response.outputs["scores"]).shape == (2, 3)
    assert np.isfinite(tf.make_ndarray(response.outputs["scores"])).all()
