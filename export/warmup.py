"""Warm-up records, which a model server replays before it says it is ready."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

from export.errors import ExportGateError
from export.loaded_model import LoadedModel
from export.requests import SampleRequest
from tfrec.schema import SignatureName

WARMUP_FILE = "tf_serving_warmup_requests"
BATCH_SIZES = (1, 8)


def served_names(signature: SignatureName) -> tuple[str, ...]:
    """Returns the names under which a signature is exported."""
    if signature == SignatureName.RECOMMEND:
        return (signature.value, tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)
    return (signature.value,)


def write_warmup(
    requests: Sequence[SampleRequest], folder: Path, *, model_name: str
) -> Path:
    """Writes the requests as warm-up records.

    Args:
        requests: What to replay; `recommend` also as `serving_default`.
        folder: The `assets.extra` of the version.
        model_name: Name that the server knows the model by.

    Returns:
        The file.
    """
    path = folder / WARMUP_FILE
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            for name in served_names(request.signature):
                writer.write(_log(request, name, model_name).SerializeToString())
    return path


def read_warmup(path: Path) -> Iterator[PredictRequest]:
    """Reads the requests of a warm-up file."""
    for record in tf.data.TFRecordDataset(str(path)):
        yield PredictionLog.FromString(record.numpy()).predict_log.request


def check_warmup(path: Path, model: LoadedModel) -> str:
    """Replays a warm-up file and checks that it reaches every signature.

    Args:
        path: The file.
        model: The version it belongs to.

    Returns:
        What was checked, in one line.

    Raises:
        ExportGateError: If a record fails or a signature has none.
    """
    replayed: list[str] = []
    for request in read_warmup(path):
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            model.call(name, inputs)
        except (tf.errors.OpError, KeyError, ValueError) as error:
            raise ExportGateError(
                f"Warm-up record {len(replayed)} of '{name}' must be answered. "
                f"Received: {error}"
            ) from error
        replayed.append(name)
    missing = sorted(model.signature_names - set(replayed))
    if missing:
        raise ExportGateError(
            f"Every signature must have a warm-up record. Received none for {missing}."
        )
    return f"{len(replayed)} records replayed, {len(set(replayed))} signatures"


def _log(request: SampleRequest, name: str, model_name: str) -> PredictionLog:
    message = PredictRequest()
    message.model_spec.name = model_name
    message.model_spec.signature_name = name
    for key, values in request.inputs.items():
        dtype = tf.string if values.dtype == object else None
        tensor = tf.make_tensor_proto(values, dtype, values.shape)
        message.inputs[key].CopyFrom(tensor)
    log = PredictLog(request=message)
    return PredictionLog(predict_log=log)
