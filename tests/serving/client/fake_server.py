"""A gRPC server that gives the answers of a script, without TensorFlow."""

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from tfrec_client import wire_pb2 as wire
from tfrec_client.contract import Signature

_DTYPES = {
    "string": wire.DT_STRING,
    "int64": wire.DT_INT64,
    "int32": wire.DT_INT32,
    "float32": wire.DT_FLOAT,
    "bool": wire.DT_BOOL,
}

Answer = wire.PredictResponse | tuple[grpc.StatusCode, str]


@dataclass
class FakeServing:
    """Counts and answers calls.

    Attributes:
        signatures: What GetModelMetadata says, one entry a call, the last again.
        answer: What Predict says, by the number of the call and the request.
        requests: Every Predict request so far.
        num_metadata_calls: GetModelMetadata calls so far.
    """

    signatures: list[dict[str, Signature]]
    answer: Callable[[int, wire.PredictRequest], Answer]
    requests: list[wire.PredictRequest] = field(default_factory=list)
    num_metadata_calls: int = 0

    def predict(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        request = wire.PredictRequest.FromString(data)
        self.requests.append(request)
        answer = self.answer(len(self.requests), request)
        if isinstance(answer, tuple):
            context.abort(*answer)
        return answer.SerializeToString()

    def metadata(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        index = min(self.num_metadata_calls, len(self.signatures) - 1)
        self.num_metadata_calls += 1
        signature_map = wire.SignatureDefMap()
        for name, signature in self.signatures[index].items():
            definition = signature_map.signature_def[name]
            for specs, infos in (
                (signature.inputs, definition.inputs),
                (signature.outputs, definition.outputs),
            ):
                for key, spec in specs.items():
                    infos[key].dtype = _DTYPES[spec.dtype]
                    for _ in range(spec.rank or 0):
                        infos[key].tensor_shape.dim.add(size=-1)
        response = wire.GetModelMetadataResponse()
        response.metadata["signature_def"].value = signature_map.SerializeToString()
        return response.SerializeToString()


@contextmanager
def serve(fake: FakeServing) -> Iterator[str]:
    """Runs the server; gives `host:port`."""
    pool = futures.ThreadPoolExecutor(2)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    handlers = {
        "Predict": grpc.unary_unary_rpc_method_handler(fake.predict),
        "GetModelMetadata": grpc.unary_unary_rpc_method_handler(fake.metadata),
    }
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService", handlers
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()
