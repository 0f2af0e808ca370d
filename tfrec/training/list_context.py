"""What shown lists tell of their context."""

import logging
from collections.abc import Mapping

import numpy as np

_LOGGER = logging.getLogger(__name__)


def warn_of_unknown_context(
    shown: Mapping[str, np.ndarray], events: Mapping[str, np.ndarray]
) -> None:
    """Warns of context that events have and shown lists lack.

    Heads that learn from shown lists then never see it, and are served with it.

    Args:
        shown: Per context attribute `[num_lists]`: indices, 0 unknown, or numbers, NaN
            unknown.
        events: The same of events, `[num_events]`.
    """
    for name, values in shown.items():
        if len(values) and not _known(values).any() and _known(events[name]).any():
            _LOGGER.warning(
                "Rows of impressions have no '%s', which events have. Heads that learn "
                "from shown lists cannot tell its values apart, and their "
                "probabilities are wrong by it. Log it with what was shown, or leave "
                "it out of `data.context`.",
                name,
            )


def _known(values: np.ndarray) -> np.ndarray:
    return ~np.isnan(values) if values.dtype.kind == "f" else values > 0
