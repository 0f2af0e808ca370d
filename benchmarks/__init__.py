"""Quality and speed, one command each; every command prints a table."""

import tfrec  # noqa: F401  Selects Keras 2 before anything imports TensorFlow.
