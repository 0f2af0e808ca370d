"""Starts TensorFlow for command lines: memory is kept, start-up messages are not."""

import importlib
import logging
import os
import sys
import tempfile

from tfrec.memory import keep_freed_memory

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Errors of TensorFlow are raised; what it logs as errors are missing accelerators.
_FATAL_ONLY = "3"


def start_tensorflow_quietly() -> None:
    """Imports TensorFlow and finds its devices; prints only if that fails.

    Memory that is freed stays with the process (`keep_freed_memory`).

    Messages about CPU features and missing accelerators come before the log level
    takes effect, so the error stream is set aside meanwhile; it is shown if the
    import raises. With `TF_CPP_MIN_LOG_LEVEL` in the environment nothing is hidden.
    """
    keep_freed_memory()
    if _LOG_LEVEL in os.environ:
        return
    os.environ[_LOG_LEVEL] = _FATAL_ONLY
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            importlib.import_module("tensorflow").config.list_physical_devices()
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
