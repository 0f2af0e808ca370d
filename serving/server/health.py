"""The gRPC health service."""

# The messages of grpcio-health-checking are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

import threading
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.server.errors import abort_with, not_found

SERVICE_NAMES = (
    "",  # The server as a whole.
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

Send = Callable[[health_pb2.HealthCheckResponse | None], None]


class HealthService(health_pb2_grpc.HealthServicer):
    """SERVING until `shut_down`, for every service of the server.

    `grpc_health.v1.health.HealthServicer` keeps its Watch streams open while the
    server stops, which then waits for the whole grace period: this one ends them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._status = _SERVING
        self._watchers: set[Send] = set()

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Returns the status of a service."""
        if request.service not in SERVICE_NAMES:
            abort_with(context, not_found(f"Unknown service {request.service}"))
        return health_pb2.HealthCheckResponse(status=self._status)

    def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send: Send,
    ) -> None:
        """Sends the status of a service, and again when it changes."""
        known = request.service in SERVICE_NAMES
        with self._lock:
            status = self._status if known else _SERVICE_UNKNOWN
            send(health_pb2.HealthCheckResponse(status=status))
            if self._status == _NOT_SERVING:
                send(None)
            elif context.add_callback(lambda: self._forget(send)):
                self._watchers.add(send)

    # gRPC calls it without keeping a thread for as long as the stream lives.
    Watch.experimental_non_blocking = True  # pyright: ignore[reportFunctionMemberAccess]

    def shut_down(self) -> None:
        """Says NOT_SERVING from now on and ends every stream."""
        with self._lock:
            self._status = _NOT_SERVING
            watchers, self._watchers = self._watchers, set()
        for send in watchers:
            send(health_pb2.HealthCheckResponse(status=_NOT_SERVING))
            send(None)

    def _forget(self, send: Send) -> None:
        with self._lock:
            self._watchers.discard(send)
