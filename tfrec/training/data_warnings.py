"""Tells those who train what is doubtful about the data that they train on."""

import logging

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.order_config import BID, number_attributes, resolve_formulas
from tfrec.schema import RequestRule

_LOGGER = logging.getLogger(__name__)


def warn_of_data(config: ExperimentConfig, dataset: PreparedDataset) -> None:
    """Logs the warnings of the preparation, and numbers that the order lacks.

    Args:
        config: Of the experiment.
        dataset: The prepared data, whether they were prepared just now or before.
    """
    for warning in dataset.manifest.get("warnings", ()):
        # Without a handler of logs only the text is printed: it says what it is.
        _LOGGER.warning("Warning: %s", warning)
    for warning in missing_order_numbers(config, dataset):
        _LOGGER.warning("Warning: %s", warning)


def missing_order_numbers(
    config: ExperimentConfig, dataset: PreparedDataset
) -> list[str]:
    """Says which numbers of the default formula no item of the catalogue has.

    A bid is none of them where requests may give it.

    Args:
        config: Its formulas.
        dataset: Its catalogue.
    """
    if config.ranking is None:
        return []
    schema, settings = config.experiment_schema, config.ranking.final_order
    formula = resolve_formulas(settings, schema)[settings.default]
    given = {BID} if RequestRule.BIDS in schema.rules else set()
    warnings = []
    for name, attribute in number_attributes(schema).items():
        if name not in formula.names or name in given:
            continue
        values = dataset.items[attribute].to_numpy(zero_copy_only=False)
        if np.isfinite(values.astype(np.float64)).any():
            continue
        counts_as = settings.missing_values.get(name, 0.0)
        warnings.append(
            "`ranking.final_order.default` should name numbers that items have. "
            f"Received: {settings.default!r}, {formula.text!r}, and none of the "
            f"{len(values):,} items has a `{name}`: it counts as {counts_as:g} for all "
            f"of them. Fill the column of `data.item_attributes.{attribute}`, or "
            "choose another formula"
        )
    return warnings
