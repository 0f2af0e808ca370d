"""The checks that a written model passes before it becomes a version."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from export.known_ops import check_known_ops
from export.loaded_model import LoadedModel
from export.parity import check_parity
from export.requests import SampleRequest
from export.signatures import ServingModule
from export.warmup import check_warmup


class GateResult(NamedTuple):
    """A gate that was passed.

    Attributes:
        name: Of the gate.
        detail: What it looked at.
    """

    name: str
    detail: str


def run_gates(
    module: ServingModule,
    path: Path,
    *,
    requests: Sequence[SampleRequest],
    warmup_path: Path,
) -> list[GateResult]:
    """Runs all gates on a written model, cheapest first.

    Args:
        module: The eager model that was written.
        path: Folder with the SavedModel.
        requests: What parity is checked on.
        warmup_path: The warm-up file.

    Raises:
        ExportGateError: By the first gate that fails.
    """
    known_ops = check_known_ops(path)
    with LoadedModel(path) as model:
        parity = check_parity(module, model, requests)
        warmup = check_warmup(warmup_path, model)
    return [
        GateResult("known ops", known_ops),
        GateResult("parity", parity),
        GateResult("warm-up", warmup),
    ]
