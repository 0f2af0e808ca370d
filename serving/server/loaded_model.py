"""One version of a model, loaded through the session loader and warmed up."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

import logging
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401  Its ops are linked into TensorFlow Serving too.
from google.protobuf import any_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from serving.server.errors import ModelLoadError, failed_precondition
from serving.server.signature import SignatureRunner

_LOGGER = logging.getLogger(__name__)
_INIT_OP = "__saved_model_init_op"  # Listed as a signature, but it is an operation.
_DEFAULT_SIGNATURE = "serving_default"
_WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MAX_WARMUP_RECORDS = 1000  # As TensorFlow Serving.


class LoadedModel:
    """A SavedModel in a session of its own.

    Args:
        name: Name of the model.
        version: Number of the version.
        path: Folder of the version.

    Raises:
        ModelLoadError: If the folder is no SavedModel, an op is unknown, or a
            warm-up request fails.
    """

    def __init__(self, name: str, version: int, path: Path) -> None:
        self.name = name
        self.version = version
        self._signatures: dict[str, SignatureRunner] = {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], str(path)
                )
            self._signatures = {
                key: SignatureRunner(key, definition, self._session)
                for key, definition in meta_graph.signature_def.items()
                if key != _INIT_OP
            }
            self.signature_map = _pack(meta_graph.signature_def)
            self._warm_up(path / _WARMUP_FILE)
        except Exception as error:  # Whatever it is, older versions go on serving.
            self.close()
            raise ModelLoadError(
                f"Loading `{name}` version {version} from {path} failed: {error}"
            ) from error

    def predict(
        self, request: predict_pb2.PredictRequest
    ) -> predict_pb2.PredictResponse:
        """Answers one request.

        Raises:
            ServingError: If the signature is unknown or the inputs do not fit.
        """
        signature_name = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        signature = self._signatures.get(signature_name)
        if signature is None:
            raise failed_precondition(
                f'Serving signature key "{signature_name}" not found.'
            )
        response = predict_pb2.PredictResponse()
        signature.predict(request.inputs, request.output_filter, response.outputs)
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = signature_name
        return response

    def close(self) -> None:
        """Frees variables and tables; no request may be running."""
        self._signatures = {}
        self._session.close()

    def _warm_up(self, path: Path) -> None:
        if not path.is_file():
            return
        count = 0
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise ValueError(
                    f"{path} must hold `predict_log` records only. Received: "
                    f"{log.WhichOneof('log_type')}."
                )
            self.predict(log.predict_log.request)
            count += 1
            if count > _MAX_WARMUP_RECORDS:
                raise ValueError(
                    f"{path} may hold at most {_MAX_WARMUP_RECORDS} records."
                )
        _LOGGER.info(
            "Warmed up %s version %d: %d requests", self.name, self.version, count
        )


def _pack(definitions: Mapping[str, meta_graph_pb2.SignatureDef]) -> any_pb2.Any:
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in definitions.items():
        signature_map.signature_def[key].CopyFrom(definition)
    packed = any_pb2.Any()
    packed.Pack(signature_map)
    return packed
