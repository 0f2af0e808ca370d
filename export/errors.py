"""Errors of the export.

RuntimeError
└── ExportGateError    the written model failed a check; nothing is left of it
"""


class ExportGateError(RuntimeError):
    """A written model failed a gate; says which, what was found and what to do."""
