"""PredictionService and ModelService of TensorFlow Serving, on the manager."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server.errors import (
    ModelConfigError,
    ModelLoadError,
    ServingError,
    abort_with,
    invalid_argument,
    not_found,
)
from serving.server.manager import ModelManager
from serving.server.model_config import convert_config

_SIGNATURE_DEF = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers Predict and GetModelMetadata.

    Args:
        manager: Where the models are.
    """

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature."""
        with _translated(context):
            _require_model_spec(request)
            if not context.is_active():
                # Waited for a thread until nobody waits any more.
                raise ServingError(grpc.StatusCode.CANCELLED, "The caller has gone.")
            with self._manager.use(request.model_spec) as model:
                return model.predict(request)

    def GetModelMetadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a version."""
        with _translated(context):
            _require_model_spec(request)
            if not request.metadata_field:
                raise invalid_argument(
                    "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for name in request.metadata_field:
                if name != _SIGNATURE_DEF:
                    raise invalid_argument(f"Metadata field {name} is not supported")
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            with self._manager.use(request.model_spec) as model:
                response.model_spec.name = model.name
                response.model_spec.version.value = model.version
                response.metadata[_SIGNATURE_DEF].CopyFrom(model.signature_map)
            return response

    def Classify(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """Is not offered: recommenders have no classification signatures."""
        _abort_unimplemented(context, "Classify")

    def Regress(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """Is not offered: recommenders have no regression signatures."""
        _abort_unimplemented(context, "Regress")

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> NoReturn:
        """Is not offered; see `Classify`."""
        _abort_unimplemented(context, "MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Answers GetModelStatus and HandleReloadConfigRequest.

    Args:
        manager: Where the models are.
    """

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def GetModelStatus(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.ServicerContext,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of one version or of all."""
        with _translated(context):
            _require_model_spec(request)
            spec = request.model_spec
            states = self._states(spec)
            response = get_model_status_pb2.GetModelStatusResponse()
            for version, state in states.items():
                status = response.model_version_status.add(
                    version=version, state=state.state
                )
                status.status.error_message = state.error_message
                if state.error_message:
                    status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
            return response

    def HandleReloadConfigRequest(
        self,
        request: model_management_pb2.ReloadConfigRequest,
        context: grpc.ServicerContext,
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces the configuration; the answer's status says how it went."""
        response = model_management_pb2.ReloadConfigResponse()
        try:
            self._manager.configure(convert_config(request.config))
        except ServingError as error:
            response.status.error_code = error.code.value[0]
            response.status.error_message = error.message
        except (ModelConfigError, ModelLoadError) as error:
            response.status.error_code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            response.status.error_message = str(error)
        return response

    def _states(self, spec: Any) -> dict[int, Any]:
        try:
            versions = self._manager.find(spec)
        except ServingError as error:
            if error.code != grpc.StatusCode.NOT_FOUND:
                raise
            raise not_found(
                f"Could not find any versions of model {spec.name}"
            ) from error
        states = versions.states
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return states
        version = spec.version.value
        if choice == "version_label":
            version = versions.version_of_label(spec.version_label)
        if version not in states:
            raise not_found(f"Could not find version {version} of model {spec.name}")
        return {version: states[version]}


@contextmanager
def _translated(context: grpc.ServicerContext) -> Iterator[None]:
    """Ends the call with the status of a ServingError."""
    try:
        yield
    except ServingError as error:
        abort_with(context, error)


def _require_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _abort_unimplemented(context: grpc.ServicerContext, name: str) -> NoReturn:
    message = f"{name} is not offered by this server."
    abort_with(context, ServingError(grpc.StatusCode.UNIMPLEMENTED, message))
