"""The container's files, against the messages and flags that they are for."""

from pathlib import Path

import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message

from serving.server.kernels import choose_kernels_for_requests
from serving.server.model_config import read_models_config

CONTAINER = Path(__file__).parents[2] / "serving" / "container"
Field = descriptor_pb2.FieldDescriptorProto


def make_message(name: str, fields: list[tuple[str, int, int, str]]) -> Message:
    """Builds a message that tensorflow-serving-api does not ship.

    The fields are those of TensorFlow Serving 2.21: `session_bundle_config.proto`
    and `monitoring_config.proto`.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="container")
    file.syntax = "proto3"
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name=name)
    for field_name, number, kind, type_name in fields:
        label = Field.LABEL_REPEATED if field_name == "allowed_batch_sizes" else 1
        message.field.add(
            name=field_name,
            number=number,
            type=kind,  # pyright: ignore
            type_name=type_name or None,
            label=label,  # pyright: ignore
        )
    if name == "MonitoringConfig":
        nested = message.nested_type.add(name="PrometheusConfig")
        nested.field.add(name="enable", number=1, type=Field.TYPE_BOOL, label=1)  # pyright: ignore
        nested.field.add(name="path", number=2, type=Field.TYPE_STRING, label=1)  # pyright: ignore
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"container.{name}")
    return message_factory.GetMessageClass(descriptor)()


def parse(file_name: str, message: Message) -> dict:
    text_format.Parse((CONTAINER / file_name).read_text(), message)
    return {field.name: value for field, value in message.ListFields()}


def test_models_config_serves_the_newest_version_of_the_default_model() -> None:
    (model,) = read_models_config(CONTAINER / "models.config")
    assert (model.name, model.base_path) == ("tfrec", Path("/models/tfrec"))
    assert model.choose_versions([1, 2]) == [2]


def test_batching_parameters_have_the_fields_of_their_message() -> None:
    int64 = ".google.protobuf.Int64Value"
    message = make_message(
        "BatchingParameters",
        [
            ("max_batch_size", 1, Field.TYPE_MESSAGE, int64),
            ("batch_timeout_micros", 2, Field.TYPE_MESSAGE, int64),
            ("max_enqueued_batches", 3, Field.TYPE_MESSAGE, int64),
            ("num_batch_threads", 4, Field.TYPE_MESSAGE, int64),
            ("allowed_batch_sizes", 6, Field.TYPE_INT64, ""),
            ("pad_variable_length_inputs", 7, Field.TYPE_BOOL, ""),
        ],
    )
    found = parse("batching_parameters.txt", message)
    assert found["max_batch_size"].value > 1
    assert found["num_batch_threads"].value >= 1
    # Without it, requests with histories of different length are refused.
    assert found["pad_variable_length_inputs"] is True


def test_monitoring_config_turns_prometheus_on() -> None:
    kind = ".container.MonitoringConfig.PrometheusConfig"
    message = make_message(
        "MonitoringConfig", [("prometheus_config", 1, Field.TYPE_MESSAGE, kind)]
    )
    prometheus = parse("monitoring.config", message)["prometheus_config"]
    assert prometheus.enable
    assert prometheus.path.startswith("/")


def test_the_dockerfile_copies_every_file_that_its_flags_name() -> None:
    lines = (CONTAINER / "Dockerfile").read_text().replace("\\\n", " ").split("\n")
    steps = dict(
        line.split(" ", 1) for line in lines if line and not line.startswith("#")
    )
    assert steps["FROM"] == "tensorflow/serving:2.21.0"
    *sources, target = steps["COPY"].split()
    assert target == "/config/"
    assert all((CONTAINER / name).is_file() for name in sources)
    binary, *flags = yaml.safe_load(steps["ENTRYPOINT"])
    assert binary == "/usr/bin/tensorflow_model_server"
    values = dict(flag.removeprefix("--").split("=") for flag in flags)
    assert values["max_num_load_retries"] == "0"
    assert values["allow_version_labels_for_unavailable_models"] == "true"
    for flag in ("model_config_file", "monitoring_config_file"):
        assert values[flag].removeprefix("/config/") in sources
    assert steps["EXPOSE"].split() == [values["port"], values["rest_api_port"]]


def test_both_servers_answer_with_the_same_kernels() -> None:
    environment: dict[str, str] = {}
    choose_kernels_for_requests(environment)
    ((name, value),) = environment.items()
    assert f"ENV {name}={value}" in (CONTAINER / "Dockerfile").read_text().split("\n")
    choice = {name: "1"}
    choose_kernels_for_requests(choice)
    assert choice == {name: "1"}


def test_compose_mounts_the_models_where_the_config_looks() -> None:
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    service = compose["services"]["tfrec"]
    (mount,) = service["volumes"]
    (model,) = read_models_config(CONTAINER / "models.config")
    assert model.base_path.is_relative_to(mount["target"])
    assert mount["read_only"] is True
    assert (CONTAINER / service["build"] / "Dockerfile").is_file()
    # Reachable from this machine only, until somebody decides otherwise.
    assert all(p.startswith("127.0.0.1:") for p in service["ports"])


def test_compose_with_batching_changes_flags_only() -> None:
    extra = yaml.safe_load((CONTAINER / "compose.batching.yaml").read_text())
    (flags,) = extra["services"]["tfrec"].values()
    values = dict(flag.removeprefix("--").split("=") for flag in flags)
    assert values["enable_batching"] == "true"
    name = values["batching_parameters_file"].removeprefix("/config/")
    assert (CONTAINER / name).is_file()
