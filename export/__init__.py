"""From a trained run to a versioned SavedModel."""

import tfrec  # noqa: F401  Selects Keras 2 before anything imports TensorFlow.
