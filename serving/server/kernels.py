"""Which kernels of TensorFlow answer requests."""

import os
from collections.abc import MutableMapping

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def choose_kernels_for_requests(
    environment: MutableMapping[str, str] = os.environ,
) -> None:
    """Leaves oneDNN's kernels out, if nobody has chosen; before TensorFlow is imported.

    They are made for large matrices, and what they prepare takes longer than the
    products of a single request; docs/export.md has what `recommend` takes with and
    without them. The container's Dockerfile sets the same variable.

    Args:
        environment: `TF_ENABLE_ONEDNN_OPTS` in it is someone's own choice, which stays.
    """
    environment.setdefault(ONEDNN, "0")
