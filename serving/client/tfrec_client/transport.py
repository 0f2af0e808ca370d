"""What both clients share on the wire: methods, channel options, messages."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrec_client import wire_pb2 as wire
from tfrec_client.contract import (
    COMMON_SIGNATURES,
    CONTRACT,
    Signature,
    TensorSpec,
    list_differences,
)
from tfrec_client.errors import (
    InvalidRequestError,
    RecommenderError,
    SchemaMismatchError,
)
from tfrec_client.results import VersionStatus
from tfrec_client.tensors import decode_tensor, dtype_name, encode_tensor

MAX_RETRIES = 4  # gRPC makes at most five attempts.
_UNLIMITED = -1


@dataclass(frozen=True)
class Method:
    """One method of TensorFlow Serving: path and the type of its answer."""

    path: str
    response: Any

    def bind(self, channel: Any) -> Callable[..., Any]:
        """Returns the callable of a channel, `grpc.Channel` or `grpc.aio.Channel`."""
        return channel.unary_unary(
            self.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.response.FromString,
        )


PREDICT = Method("/tensorflow.serving.PredictionService/Predict", wire.PredictResponse)
GET_MODEL_METADATA = Method(
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    wire.GetModelMetadataResponse,
)
GET_MODEL_STATUS = Method(
    "/tensorflow.serving.ModelService/GetModelStatus", wire.GetModelStatusResponse
)


@dataclass(frozen=True)
class Connection:
    """Where the model is and how long to wait; the arguments of both clients.

    Attributes:
        target: `host:port`, or any gRPC target such as `dns:///models:8500`,
            whose addresses are then used in turn.
        model_name: Name of the model on the server.
        version: Number of a version; None means the newest that is loaded.
        label: Label of a version instead of its number.
        timeout_seconds: Deadline of a call, retries included.
        max_retries: Further attempts when the server is UNAVAILABLE, 0 to 4.
        signature_names: What the client will use; the model must have it.
    """

    target: str
    model_name: str
    version: int | None = None
    label: str | None = None
    timeout_seconds: float = 1.0
    max_retries: int = 2
    signature_names: tuple[str, ...] = COMMON_SIGNATURES

    def __post_init__(self) -> None:
        if not self.target or self.target.startswith(("http://", "https://")):
            raise InvalidRequestError(
                "`target` must be `host:port`, without http://. "
                f"Received: target={self.target!r}."
            )
        if self.version is not None and self.label is not None:
            raise InvalidRequestError(
                "Only one of `version` and `label` may be given. Received: "
                f"version={self.version}, label={self.label!r}."
            )
        check_timeout(self.timeout_seconds)
        if not 0 <= self.max_retries <= MAX_RETRIES:
            raise InvalidRequestError(
                f"`max_retries` must be 0 to {MAX_RETRIES}. "
                f"Received: max_retries={self.max_retries}."
            )
        unknown = [name for name in self.signature_names if name not in CONTRACT]
        if unknown:
            raise InvalidRequestError(
                f"`signatures` must be of {sorted(CONTRACT)}. Received: {unknown}."
            )

    @property
    def channel_options(self) -> list[tuple[str, str | int]]:
        """Retries and reconnection of the channel, done by gRPC itself."""
        service: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
        if self.max_retries:
            policy = {
                "maxAttempts": self.max_retries + 1,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            service["methodConfig"] = [{"name": [{}], "retryPolicy": policy}]
        return [
            ("grpc.service_config", json.dumps(service)),
            ("grpc.enable_retries", int(self.max_retries > 0)),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.max_receive_message_length", _UNLIMITED),
            ("grpc.max_send_message_length", _UNLIMITED),
        ]

    def model_spec(self, signature_name: str = "") -> wire.ModelSpec:
        """Returns which model, version and signature is meant."""
        spec = wire.ModelSpec(name=self.model_name, signature_name=signature_name)
        if self.version is not None:
            spec.version.value = self.version
        if self.label is not None:
            spec.version_label = self.label
        return spec

    def predict_request(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_names: Sequence[str] = (),
    ) -> wire.PredictRequest:
        """Returns the message that asks a signature."""
        request = wire.PredictRequest(
            model_spec=self.model_spec(signature_name), output_filter=output_names
        )
        for name, array in inputs.items():
            if not isinstance(array, np.ndarray):
                raise InvalidRequestError(
                    f"`inputs[{name!r}]` must be a NumPy array. Received: "
                    f"{type(array).__name__}. Use np.array(...) with the input's dtype."
                )
            try:
                encode_tensor(array, request.inputs[name])
            except (TypeError, UnicodeEncodeError) as error:
                raise InvalidRequestError(
                    f"`inputs[{name!r}]` cannot be sent: {error}"
                ) from error
        return request

    def metadata_request(self) -> wire.GetModelMetadataRequest:
        """Returns the message that asks for the signatures."""
        return wire.GetModelMetadataRequest(
            model_spec=self.model_spec(), metadata_field=["signature_def"]
        )

    def status_request(self) -> wire.GetModelStatusRequest:
        """Returns the message that asks for the state of every version."""
        return wire.GetModelStatusRequest(model_spec=self.model_spec())

    def require_contract(self, signatures: Mapping[str, Signature]) -> None:
        """Raises SchemaMismatchError with every difference to this client."""
        lines = list_differences(signatures, self.signature_names)
        if lines:
            raise SchemaMismatchError(
                f"Model `{self.model_name}` at {self.target} does not have the "
                "signatures that this client speaks:\n"
                + "".join(f"  - {line}\n" for line in lines)
                + "Install the tfrec-client of the version that exported the model, "
                "or limit `signatures` to those that you use."
            )

    def find_signature(
        self, signatures: Mapping[str, Signature], name: str
    ) -> Signature:
        """Returns one signature of the model.

        Raises:
            SchemaMismatchError: If the model lacks it or it differs.
        """
        lines = list_differences(signatures, (name,))
        if lines:
            raise SchemaMismatchError(
                f"Model `{self.model_name}` at {self.target} cannot answer "
                f"`{name}`: " + "; ".join(lines) + "."
            )
        return signatures[name]


def check_timeout(timeout_seconds: float) -> None:
    """Raises InvalidRequestError unless the deadline is a positive, finite time."""
    if not 0 < timeout_seconds < float("inf"):
        raise InvalidRequestError(
            "`timeout_seconds` must be more than 0 and finite. "
            f"Received: timeout_seconds={timeout_seconds}."
        )


def read_outputs(response: wire.PredictResponse) -> dict[str, np.ndarray]:
    """Returns the outputs of an answer by name."""
    return {name: decode_tensor(tensor) for name, tensor in response.outputs.items()}


def read_signatures(response: wire.GetModelMetadataResponse) -> dict[str, Signature]:
    """Returns every signature of a model by name."""
    if "signature_def" not in response.metadata:
        raise RecommenderError(
            "The server sent no `signature_def`. "
            f"Received: {sorted(response.metadata)}."
        )
    signature_map = wire.SignatureDefMap.FromString(
        response.metadata["signature_def"].value
    )
    return {
        name: Signature(_read_specs(definition.inputs), _read_specs(definition.outputs))
        for name, definition in signature_map.signature_def.items()
    }


def read_statuses(response: wire.GetModelStatusResponse) -> list[VersionStatus]:
    """Returns the state of every version, newest first."""
    statuses = [
        VersionStatus(
            s.version,
            wire.ModelVersionStatus.State.Name(s.state),
            s.status.error_message,
        )
        for s in response.model_version_status
    ]
    return sorted(statuses, key=lambda s: s.version, reverse=True)


def _read_specs(infos: Mapping[str, wire.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            dtype_name(info.dtype),
            None if info.tensor_shape.unknown_rank else len(info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
