"""Client, embedded server, container files and load test."""

import tfrec  # noqa: F401  Selects Keras 2 before anything imports TensorFlow.
