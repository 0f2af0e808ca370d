"""The configuration of a running server is replaced over gRPC."""

# The messages of tensorflow-serving-api are made at import and have no stubs.
# pyright: reportAttributeAccessIssue=false

from pathlib import Path

import grpc
from google.protobuf import text_format
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
)
from tfrec_client import RecommenderClient, RecommenderError

from serving.server.model_config import ServedModel
from serving.server.server import EmbeddedServer


def config(name: str, base_path: Path, more: str = "") -> str:
    return (
        f'config {{ name: "{name}" base_path: "{base_path}" '
        f'model_platform: "tensorflow" {more} }}'
    )


def reload(server: EmbeddedServer, *models: str) -> tuple[int, str]:
    """Returns code and message of the answer's status."""
    request = model_management_pb2.ReloadConfigRequest()
    text = f"model_config_list {{ {' '.join(models)} }}"
    text_format.Parse(text, request.config)
    with grpc.insecure_channel(server.target) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        status = stub.HandleReloadConfigRequest(request, timeout=20).status
    return status.error_code, status.error_message


def answers(server: EmbeddedServer, name: str, label: str | None = None) -> bool:
    client = RecommenderClient(
        server.target, model_name=name, label=label, timeout_seconds=20
    )
    try:
        return len(client.similar_items("item-0", 1)) == 1
    except RecommenderError:
        return False
    finally:
        client.close()


def test_models_are_added_labelled_and_removed(toy_base_path: Path) -> None:
    a, b = config("a", toy_base_path), config("b", toy_base_path)
    with EmbeddedServer([ServedModel("a", toy_base_path)]) as server:
        assert not answers(server, "b")
        assert reload(server, a, b) == (0, "")
        assert answers(server, "a")
        assert answers(server, "b")
        label = 'version_labels { key: "x" value: 1 }'
        assert reload(server, config("b", toy_base_path, label)) == (0, "")
        assert not answers(server, "a")
        assert answers(server, "b", "x")


def test_a_bad_configuration_changes_nothing(
    toy_base_path: Path, tmp_path: Path
) -> None:
    wrong_label = 'version_labels { key: "x" value: 2 }'
    cases = [
        (
            config("a", toy_base_path, wrong_label),
            grpc.StatusCode.FAILED_PRECONDITION,
            "version 2 of model a",
        ),
        (config("c", tmp_path), grpc.StatusCode.INVALID_ARGUMENT, "No version of `c`"),
        ('config { name: "c" }', grpc.StatusCode.INVALID_ARGUMENT, "`base_path`"),
    ]
    with EmbeddedServer([ServedModel("a", toy_base_path)]) as server:
        for text, expected, part in cases:
            code, message = reload(server, config("b", toy_base_path), text)
            assert code == expected.value[0]
            assert part in message
            assert answers(server, "a")
            assert not answers(server, "b")
