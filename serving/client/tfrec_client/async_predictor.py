"""Access to any model on TensorFlow Serving for asyncio."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import grpc
import grpc.aio
import numpy as np

from tfrec_client.contract import COMMON_SIGNATURES, Signature
from tfrec_client.errors import InvalidRequestError, translate_rpc_error
from tfrec_client.results import VersionStatus
from tfrec_client.transport import (
    GET_MODEL_METADATA,
    GET_MODEL_STATUS,
    PREDICT,
    Connection,
    check_timeout,
    read_outputs,
    read_signatures,
    read_statuses,
)


class AsyncPredictor:
    """Asks one model with plain arrays; the base of `AsyncRecommenderClient`.

    Args:
        target: `host:port`, or any gRPC target; of `dns:///models:8500` all
            addresses are used in turn.
        model_name: Name of the model on the server.
        version: Number of a version; None means the newest that is loaded.
        label: Label of a version, instead of its number.
        timeout_seconds: Deadline of every call, retries included; each method
            takes another one for its call.
        max_retries: Further attempts when the server is UNAVAILABLE, 0 to 4.
        credentials: For TLS, from `grpc.ssl_channel_credentials()`; None sends
            plain text.
        signatures: What will be used; `check_schema` demands these. `embed_text` is
            not among them by default: only a model that reads texts has it.

    Raises:
        InvalidRequestError: If an argument is out of its range.
    """

    def __init__(
        self,
        target: str,
        *,
        model_name: str,
        version: int | None = None,
        label: str | None = None,
        timeout_seconds: float = 1.0,
        max_retries: int = 2,
        credentials: grpc.ChannelCredentials | None = None,
        signatures: Sequence[str] = COMMON_SIGNATURES,
    ) -> None:
        self._connection = Connection(
            target,
            model_name,
            version,
            label,
            timeout_seconds,
            max_retries,
            tuple(signatures),
        )
        options = self._connection.channel_options
        self._channel = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )
        self._predict = PREDICT.bind(self._channel)
        self._get_model_metadata = GET_MODEL_METADATA.bind(self._channel)
        self._get_model_status = GET_MODEL_STATUS.bind(self._channel)
        self._signatures: Mapping[str, Signature] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Checks the schema; see `check_schema`."""
        try:
            await self.check_schema()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the channel."""
        await self.close()

    async def close(self) -> None:
        """Closes the channel; the client cannot be used afterwards."""
        self._is_closed = True
        await self._channel.close()

    async def check_schema(self, *, timeout_seconds: float | None = None) -> None:
        """Asks the server for the model's signatures and compares them.

        Context and filters that the shop declared are learnt on the way. The
        first question does this too, if nobody did it before.

        Raises:
            SchemaMismatchError: With every difference found.
            ModelNotReadyError: If the server or the model is not there.
        """
        signatures = await self.metadata(timeout_seconds=timeout_seconds)
        self._connection.require_contract(signatures)
        self._signatures = signatures

    async def metadata(
        self, *, timeout_seconds: float | None = None
    ) -> dict[str, Signature]:
        """Returns every signature of the model by name."""
        request = self._connection.metadata_request()
        response = await self._call(self._get_model_metadata, request, timeout_seconds)
        return read_signatures(response)

    async def status(
        self, *, timeout_seconds: float | None = None
    ) -> list[VersionStatus]:
        """Returns the state of the model's versions, newest first."""
        request = self._connection.status_request()
        response = await self._call(self._get_model_status, request, timeout_seconds)
        return read_statuses(response)

    async def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        output_names: Sequence[str] = (),
        timeout_seconds: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Asks any signature with plain arrays.

        Args:
            signature_name: Name of the signature.
            inputs: One array per input, each with the batch dimension.
            output_names: Outputs to return; empty means all.
            timeout_seconds: Deadline of this call.

        Returns:
            One array per output; strings as `object` arrays of str.

        Raises:
            SchemaMismatchError: If the model does not have the signature.
            RecommenderError: Another of its kinds, see `tfrec_client.errors`.
        """
        request = self._connection.predict_request(signature_name, inputs, output_names)
        return read_outputs(await self._call(self._predict, request, timeout_seconds))

    async def _call(
        self, method: Callable[..., Any], request: Any, timeout_seconds: float | None
    ) -> Any:
        if self._is_closed:
            raise InvalidRequestError(
                "The client was closed. Build another one, or ask within the `with` "
                "block."
            )
        connection = self._connection
        timeout = connection.timeout_seconds
        if timeout_seconds is not None:
            check_timeout(timeout_seconds)
            timeout = timeout_seconds
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise translate_rpc_error(
                error, target=connection.target, timeout_seconds=timeout
            ) from error
