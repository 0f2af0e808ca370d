"""Errors of the server, each with the gRPC status that the client gets."""

from typing import NoReturn

import grpc


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        code: Status for the client, as TensorFlow Serving would send it.
        message: Details for the client.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ModelLoadError(Exception):
    """A version of a model that cannot be loaded or warmed up."""


class ModelConfigError(ValueError):
    """A models.config that cannot be used."""


def invalid_argument(message: str) -> ServingError:
    """Returns the error for a request that is wrong in itself."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """Returns the error for a model or version that is not served."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def failed_precondition(message: str) -> ServingError:
    """Returns the error for a request that the server's state does not allow."""
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)


def abort_with(context: grpc.ServicerContext, error: ServingError) -> NoReturn:
    """Ends a call with the status of an error."""
    context.abort(error.code, error.message)
    raise AssertionError("`abort` always raises.")


def status_of_code(error_code: int) -> grpc.StatusCode:
    """Returns the gRPC status of a TensorFlow error code; both count alike."""
    for status in grpc.StatusCode:
        if status.value[0] == error_code:
            return status
    return grpc.StatusCode.UNKNOWN
