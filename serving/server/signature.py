"""One signature of a loaded model: checks the inputs, runs the graph."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving.server.errors import ServingError, invalid_argument, status_of_code
from serving.server.tensors import decode_tensor, encode_tensor


class SignatureRunner:
    """Answers requests to one signature.

    Args:
        name: Name of the signature.
        definition: Its inputs and outputs.
        session: Session in which the model was loaded.
    """

    def __init__(
        self,
        name: str,
        definition: meta_graph_pb2.SignatureDef,
        session: tf.compat.v1.Session,
    ) -> None:
        self.name = name
        self._inputs = {
            key: definition.inputs[key] for key in sorted(definition.inputs)
        }
        self._shapes = {key: _shape(i.tensor_shape) for key, i in self._inputs.items()}
        self._output_names = sorted(definition.outputs)
        options = config_pb2.CallableOptions(
            feed=[info.name for info in self._inputs.values()],
            fetch=[definition.outputs[key].name for key in self._output_names],
        )
        # `Session.run` and `Session.make_callable` add 0.4 ms of Python a call;
        # this reaches C++ `Session::RunCallable` directly.
        self._run = session._make_callable_from_options(options)

    def predict(
        self,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Sequence[str],
        outputs: Mapping[str, tensor_pb2.TensorProto],
    ) -> None:
        """Runs the signature and fills the map `outputs` of the response.

        Raises:
            ServingError: With INVALID_ARGUMENT if names, dtypes or shapes are not
                those of the signature, or with what the graph raised.
        """
        wanted = self._wanted_outputs(output_filter)
        arrays = self._decode(inputs)
        try:
            values = self._run(*arrays)
        except tf.errors.OpError as error:
            raise ServingError(
                status_of_code(error.error_code), error.message
            ) from error
        for name, value in zip(self._output_names, values, strict=True):
            if name in wanted:
                # The C API gives a NumPy scalar for rank 0.
                encode_tensor(np.asarray(value), outputs[name])

    def _wanted_outputs(self, output_filter: Sequence[str]) -> Sequence[str]:
        seen: set[str] = set()
        for name in output_filter:
            if name not in self._output_names:
                raise invalid_argument(
                    f"output tensor alias not found in signature: {name} Outputs "
                    f"expected to be in the set {{{','.join(self._output_names)}}}."
                )
            if name in seen:
                raise invalid_argument(f"duplicate output tensor alias: {name}")
            seen.add(name)
        return list(seen) or self._output_names

    def _decode(self, inputs: Mapping[str, tensor_pb2.TensorProto]) -> list[np.ndarray]:
        if len(inputs) != len(self._inputs) or any(
            n not in inputs for n in self._inputs
        ):
            raise invalid_argument(_describe_names(set(inputs), set(self._inputs)))
        arrays = []
        for name, info in self._inputs.items():
            message = inputs[name]
            if message.dtype != info.dtype:
                raise invalid_argument(
                    f"Input `{name}` of signature `{self.name}` must have dtype "
                    f"{tf.as_dtype(info.dtype).name}. Received: "
                    f"{_dtype_name(message.dtype)}."
                )
            self._check_shape(name, message)
            try:
                arrays.append(decode_tensor(message))
            except (TypeError, ValueError) as error:
                raise invalid_argument(
                    f"tensor parsing error: {name}: {error}"
                ) from error
        return arrays

    def _check_shape(self, name: str, message: tensor_pb2.TensorProto) -> None:
        expected = self._shapes[name]
        received = [d.size for d in message.tensor_shape.dim]
        fits = expected is None or (
            len(expected) == len(received)
            and all(e in (-1, r) for e, r in zip(expected, received, strict=True))
        )
        if not fits or any(size < 0 for size in received):
            raise invalid_argument(
                f"Input `{name}` of signature `{self.name}` must have shape "
                f"{expected} (-1 is any size). Received: {received}."
            )


def _shape(shape: tensor_shape_pb2.TensorShapeProto) -> list[int] | None:
    return None if shape.unknown_rank else [d.size for d in shape.dim]


def _dtype_name(dtype: int) -> str:
    try:
        return tf.as_dtype(dtype).name
    except TypeError:
        return f"DataType {dtype}"


def _describe_names(received: set[str], expected: set[str]) -> str:
    def listed(names: set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    return (
        f"input size does not match signature: {len(received)}!={len(expected)} "
        f"len({listed(received)}) != len({listed(expected)}). "
        f"Sent extra: {listed(received - expected)}. "
        f"Missing but required: {listed(expected - received)}."
    )
