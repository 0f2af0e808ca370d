"""The embedded server: gRPC, health and graceful stop around the manager."""

import os
import socket
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Self

import grpc
from grpc_health.v1 import health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.server.health import HealthService
from serving.server.manager import ModelManager
from serving.server.model_config import ServedModel
from serving.server.services import ModelService, PredictionService

DEFAULT_MAX_MESSAGE_BYTES = 64 * 2**20


class EmbeddedServer:
    """TensorFlow Serving's gRPC protocol inside this process.

    For laptops, tests and CI; production is `tensorflow_model_server`. The port
    opens only after every model is loaded and warmed up; that it is free is found
    out before.

    Args:
        models: What to serve; `read_models_config` reads them from a file.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        poll_seconds: Time between two looks at the version folders.
        num_threads: Requests that run at a time; None goes by the cores.
        grace_seconds: How long running requests may take after `stop`.
        max_message_bytes: Largest request that is read.

    Example:
        models = [ServedModel("tfrec", Path("runs/demo/model/tfrec"))]
        with EmbeddedServer(models) as server:
            print(server.target)
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        poll_seconds: float = 1.0,
        num_threads: int | None = None,
        grace_seconds: float = 10.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        self._host = host
        self._requested_port = port
        self._port: int | None = None
        self._grace_seconds = grace_seconds
        self._manager = ModelManager(models, poll_seconds=poll_seconds)
        self._health = HealthService()
        self._stop_lock = threading.Lock()
        self._stopped = threading.Event()
        self._pool = futures.ThreadPoolExecutor(
            num_threads or max(4, 2 * (os.cpu_count() or 1)),
            thread_name_prefix="predict",
        )
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.so_reuseport", 0),  # Else two servers share a port silently.
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
            ],
        )
        self._add_services()

    @property
    def port(self) -> int:
        """The port that was opened.

        Raises:
            RuntimeError: Before `start`.
        """
        if self._port is None:
            raise RuntimeError("The server has no port before `start()`.")
        return self._port

    @property
    def target(self) -> str:
        """What a client connects to: `host:port`."""
        return f"{self._host}:{self.port}"

    def start(self) -> Self:
        """Loads the models, then opens the port.

        Raises:
            ModelLoadError: If a model has no version that can be served.
            OSError: If the port cannot be opened.
        """
        address = f"{self._host}:{self._requested_port}"
        refusal = OSError(
            f"Cannot listen on {address}: is the port in use? Stop the other "
            "server, or choose another port (0 takes a free one)."
        )
        try:
            _bind_once(self._host, self._requested_port)
        except (OSError, OverflowError) as error:
            raise refusal from error
        self._manager.start()
        try:
            self._port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            self._manager.stop()
            raise refusal from error
        self._server.start()
        return self

    def stop(self) -> None:
        """Refuses new requests, lets running ones end, frees the models."""
        with self._stop_lock:
            if self._stopped.is_set():
                return
            self._health.shut_down()
            self._server.stop(self._grace_seconds).wait()
            self._pool.shutdown()
            self._manager.stop()
            self._stopped.set()

    def wait(self) -> None:
        """Blocks until `stop` has finished."""
        self._stopped.wait()

    def __enter__(self) -> Self:
        """Starts the server."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stops the server."""
        self.stop()

    def _add_services(self) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self._manager), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self._manager), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)


def _bind_once(host: str, port: int) -> None:
    """Takes an address and gives it back; nobody can connect meanwhile.

    Raises:
        OSError: If another socket listens there, or this machine has no such address.
        OverflowError: If no port has this number.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        # As gRPC: connections that were closed lately do not count.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host.strip("[]"), port))
