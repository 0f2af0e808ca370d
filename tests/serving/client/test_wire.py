"""The client's messages have the bytes of TensorFlow Serving's."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.message import Message
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)
from tfrec_client import wire_pb2 as wire
from tfrec_client.tensors import decode_tensor
from tfrec_client.transport import Connection, read_signatures, read_statuses

CLIENT_FOLDER = Path(__file__).parents[3] / "serving" / "client"
ARRAYS = {
    "strings": np.array([["ä", ""], ["漢字", "b"]], object),
    "longs": np.array([[-(2**62), 7]], np.int64),
    "integers": np.array([3, -4, 5], np.int32),
    "floats": np.array([[0.5], [float("-inf")]], np.float32),
    "doubles": np.array([1e300]),
    "booleans": np.array([True, False]),
    "empty": np.zeros((2, 0), np.int64),
}


def canonical(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def test_a_predict_request_has_the_same_bytes_both_ways() -> None:
    connection = Connection("x", "shop", version=2**40)
    ours = connection.predict_request("recommend", ARRAYS, ["scores", "item_ids"])
    theirs = predict_pb2.PredictRequest.FromString(canonical(ours))
    assert theirs.model_spec.name == "shop"
    assert theirs.model_spec.version.value == 2**40
    assert theirs.model_spec.signature_name == "recommend"
    assert list(theirs.output_filter) == ["scores", "item_ids"]
    assert set(theirs.inputs) == set(ARRAYS)
    assert not theirs.FindInitializationErrors()
    assert canonical(theirs) == canonical(ours)
    assert wire.PredictRequest.FromString(canonical(theirs)) == ours


@pytest.mark.parametrize("name", list(ARRAYS))
def test_tensorflow_reads_every_dtype_that_the_client_writes(name: str) -> None:
    ours = Connection("x", "m").predict_request("s", {name: ARRAYS[name]})
    theirs = predict_pb2.PredictRequest.FromString(canonical(ours))
    read = tf.make_ndarray(theirs.inputs[name])
    if name == "strings":
        read = np.array([[v.decode() for v in row] for row in read], object)
    else:
        assert read.dtype == ARRAYS[name].dtype
    np.testing.assert_array_equal(read, ARRAYS[name])


def typed_fields(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Writes numbers as TensorFlow Serving does, not as packed bytes."""
    dtype = tf.as_dtype(array.dtype)
    names = {tf.int32: "int", tf.float32: "float", tf.float64: "double"}
    message = tf.make_tensor_proto(array)
    message.ClearField("tensor_content")
    for field in ("int", "int64", "float", "double", "bool"):
        message.ClearField(f"{field}_val")
    field = getattr(message, f"{names.get(dtype, dtype.name)}_val")
    field.extend(array.ravel().tolist())
    return message


@pytest.mark.parametrize("name", list(ARRAYS))
@pytest.mark.parametrize("as_content", [False, True])
def test_the_client_reads_every_dtype_that_tensorflow_writes(
    name: str, as_content: bool
) -> None:
    array = ARRAYS[name]
    theirs = tf.make_tensor_proto(array)
    if not as_content and name != "strings":
        theirs = typed_fields(array)
    response = predict_pb2.PredictResponse(outputs={"y": theirs})
    ours = wire.PredictResponse.FromString(canonical(response))
    read = decode_tensor(ours.outputs["y"])
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert canonical(ours) == canonical(response)


def test_a_version_label_travels_in_its_own_field() -> None:
    ours = Connection("x", "shop", label="stable").status_request()
    theirs = get_model_status_pb2.GetModelStatusRequest.FromString(canonical(ours))
    assert theirs.model_spec.WhichOneof("version_choice") == "version_label"
    assert theirs.model_spec.version_label == "stable"
    assert canonical(theirs) == canonical(ours)


def test_metadata_of_tensorflow_serving_is_understood() -> None:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    definition = signatures.signature_def["rank"]
    definition.inputs["a"].dtype = tf.string.as_datatype_enum
    definition.inputs["a"].tensor_shape.dim.add(size=-1)
    definition.outputs["b"].dtype = tf.bfloat16.as_datatype_enum
    definition.outputs["b"].tensor_shape.unknown_rank = True
    packed = any_pb2.Any()
    packed.Pack(signatures)
    theirs = get_model_metadata_pb2.GetModelMetadataResponse(
        metadata={"signature_def": packed}
    )
    ours = wire.GetModelMetadataResponse.FromString(canonical(theirs))
    assert canonical(ours) == canonical(theirs)
    rank = read_signatures(ours)["rank"]
    assert (rank.inputs["a"].dtype, rank.inputs["a"].rank) == ("string", 1)
    assert rank.outputs["b"].rank is None
    assert "14" in rank.outputs["b"].dtype  # DT_BFLOAT16, which no client sends.
    request = Connection("x", "shop").metadata_request()
    assert get_model_metadata_pb2.GetModelMetadataRequest.FromString(
        canonical(request)
    ).metadata_field == ["signature_def"]


def test_a_status_of_tensorflow_serving_is_understood() -> None:
    theirs = get_model_status_pb2.GetModelStatusResponse()
    State = get_model_status_pb2.ModelVersionStatus.State
    theirs.model_version_status.add(version=1, state=State.AVAILABLE)
    failed = theirs.model_version_status.add(version=2, state=State.END)
    failed.status.error_code = 2
    failed.status.error_message = "broken"
    ours = wire.GetModelStatusResponse.FromString(canonical(theirs))
    assert canonical(ours) == canonical(theirs)
    first, second = read_statuses(ours)
    assert (first.version, first.state, first.error_message) == (2, "END", "broken")
    assert (second.version, second.state) == (1, "AVAILABLE")


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Path) -> None:
    # In a process of its own: the compiler and TensorFlow share symbols and crash.
    target = tmp_path / "descriptors"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    command += [f"--descriptor_set_out={target}", "tfrec_client/wire.proto"]
    subprocess.run(command, cwd=CLIENT_FOLDER, check=True)
    (compiled,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    committed = descriptor_pb2.FileDescriptorProto()
    wire.DESCRIPTOR.CopyToProto(committed)
    # Which of them are spelt out depends on the compiler's version.
    _drop_json_names(compiled)
    _drop_json_names(committed)
    assert committed == compiled


def _drop_json_names(file: descriptor_pb2.FileDescriptorProto) -> None:
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            field.ClearField("json_name")
