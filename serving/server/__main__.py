"""Serves exported models over gRPC, as tensorflow_model_server does.

    python -m serving.server --model_name tfrec --model_base_path runs/demo/model/tfrec
    python -m serving.server --models_config serving/container/models.config \
        --models_root runs/demo/model

When the port is open, one line is printed: `LISTENING <host> <port>`.
SIGINT and SIGTERM stop the server after the running requests.
"""

import argparse
import logging
import queue
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving.server.kernels import choose_kernels_for_requests
from tfrec.quiet import start_tensorflow_quietly

if TYPE_CHECKING:
    from serving.server.model_config import ServedModel


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until a signal; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if bool(options.models_config) == bool(options.model_base_path):
        parser.error("give either --models_config or --model_base_path")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    start_tensorflow_quietly()
    from serving.server.errors import ModelConfigError, ModelLoadError

    try:
        return _serve(options)
    except (ModelConfigError, ModelLoadError, OSError) as error:
        print(f"Failed to start server. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # While loading; later the signal stops it gracefully.
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves exported models over gRPC with the protocol of "
        "TensorFlow Serving: for a laptop, tests and CI. New versions are loaded "
        "as they appear and swapped in without dropping a request.",
        epilog="Prints `LISTENING <host> <port>` when it is ready. "
        "Ask it with `python -m tfrec_client`.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    models = parser.add_argument_group("models, either one")
    models.add_argument(
        "--model_base_path",
        type=Path,
        help="folder that holds a folder per version, e.g. runs/demo/model/tfrec",
    )
    models.add_argument(
        "--models_config",
        type=Path,
        help="models.config in text format, the one that the container reads",
    )
    models.add_argument(
        "--model_name", default="tfrec", help="name for --model_base_path"
    )
    models.add_argument(
        "--models_root",
        type=Path,
        help="folder that stands for /models in --models_config",
    )
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="address to listen on")
    network.add_argument("--port", type=int, default=8500, help="0 takes a free one")
    network.add_argument(
        "--num_threads", type=int, help="requests at a time; None goes by the cores"
    )
    network.add_argument(
        "--max_message_mb", type=int, default=64, help="largest request that is read"
    )
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="time between two looks for new versions",
    )
    parser.add_argument(
        "--grace_seconds",
        type=float,
        default=10.0,
        help="how long running requests may take after a signal",
    )
    return parser


def _serve(options: argparse.Namespace) -> int:
    import tensorflow as tf

    from serving.server.server import EmbeddedServer

    tf.get_logger().setLevel(logging.ERROR)
    with EmbeddedServer(
        _models(options),
        host=options.host,
        port=options.port,
        poll_seconds=options.file_system_poll_wait_seconds,
        num_threads=options.num_threads,
        grace_seconds=options.grace_seconds,
        max_message_bytes=options.max_message_mb * 2**20,
    ) as server:
        # No `threading.Event`: a handler runs between two steps of this thread, and
        # would wait for ever for the lock that `wait` holds meanwhile.
        received: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: received.put(number))
        print(f"LISTENING {options.host} {server.port}", flush=True)
        received.get()
    return 0


def _models(options: argparse.Namespace) -> "list[ServedModel]":
    from serving.server.model_config import ServedModel, read_models_config

    if options.models_config:
        return read_models_config(
            options.models_config, models_root=options.models_root
        )
    return [ServedModel(options.model_name, options.model_base_path)]


if __name__ == "__main__":
    choose_kernels_for_requests()
    sys.exit(main())
