"""What can go wrong when a recommender is asked.

    RecommenderError
    ├── SchemaMismatchError     the model's signatures are not those of this client
    ├── ModelNotReadyError      no server, no such model or version, still loading
    ├── DeadlineExceededError   no answer in time; also a TimeoutError
    └── InvalidRequestError     the request itself is wrong; also a ValueError

An error that came from gRPC keeps the gRPC error as its `__cause__`.
"""

import grpc
import grpc.aio


class RecommenderError(Exception):
    """The recommender could not answer."""


class SchemaMismatchError(RecommenderError):
    """The served model does not have the signatures that this client speaks."""


class ModelNotReadyError(RecommenderError):
    """No server answers, or it does not serve this model or version."""


class DeadlineExceededError(RecommenderError, TimeoutError):
    """The answer did not come in time."""


class InvalidRequestError(RecommenderError, ValueError):
    """The request cannot be answered as it is."""


_ERROR_OF_STATUS: dict[grpc.StatusCode, type[RecommenderError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.FAILED_PRECONDITION: ModelNotReadyError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: ModelNotReadyError,
    grpc.StatusCode.UNAVAILABLE: ModelNotReadyError,
}
_FIX_OF_STATUS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "Raise `timeout_seconds`, or look at the "
    "server's load.",
    grpc.StatusCode.FAILED_PRECONDITION: "Compare with `check_schema()` what the "
    "model serves.",
    grpc.StatusCode.INVALID_ARGUMENT: "Compare the request with "
    "`python -m tfrec_client metadata`.",
    grpc.StatusCode.NOT_FOUND: "Compare the model's name and version with the "
    "server's models.config.",
    grpc.StatusCode.UNAVAILABLE: "Start the server, or correct `target`.",
}
# What TensorFlow Serving says with FAILED_PRECONDITION, its only mark of this case.
_NO_SIGNATURE = "serving signature key"
_FIX_OF_SIGNATURE = (
    "Ask one of those that `metadata()` or `python -m tfrec_client metadata` lists."
)


def translate_rpc_error(
    error: grpc.RpcError, *, target: str, timeout_seconds: float
) -> RecommenderError:
    """Returns the typed error for a gRPC error; raise it `from` the gRPC error."""
    code, details = grpc.StatusCode.UNKNOWN, str(error)
    if isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        code, details = error.code(), error.details()
    kind = _ERROR_OF_STATUS.get(code, RecommenderError)
    limit = f" after {timeout_seconds:g} s" if kind is DeadlineExceededError else ""
    fix = _FIX_OF_STATUS.get(code, "")
    if kind is ModelNotReadyError and _NO_SIGNATURE in str(details).lower():
        kind, fix = SchemaMismatchError, _FIX_OF_SIGNATURE
    reason = str(details).rstrip(". ")
    return kind(f"{target} answered {code.name}{limit}: {reason}. {fix}".rstrip())
