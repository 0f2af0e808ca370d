"""Folders whose weights or tokenizer are not those of the model are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.tensorflow
import tensorflow as tf

from tests.text.helpers import VOCABULARY, tiny_config, write_vocabulary
from tests.text.test_transformers_encoder import build, pytorch_tensors

Tensors = dict[str, tf.Tensor]


def write_safetensors(folder: Path, tensors: Tensors, **changes: Any) -> Path:
    write_vocabulary(folder)
    config = tiny_config(architectures=["BertModel"], **changes)
    config.save_pretrained(folder)
    weights = str(folder / "model.safetensors")
    safetensors.tensorflow.save_file(tensors, weights, {"format": "pt"})
    return folder


def without_a_layer(tensors: Tensors) -> Tensors:
    return {name: t for name, t in tensors.items() if "layer.1." not in name}


def under_other_names(tensors: Tensors) -> Tensors:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


def without_sense(tensors: Tensors) -> Tensors:
    name = "encoder.layer.0.attention.self.query.weight"
    values = tensors[name].numpy()
    values[3, 4] = np.nan
    return {**tensors, name: tf.constant(values)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without_a_layer, r"must be all there.*encoder\.layer\.1\..* and 13 more"),
        (under_other_names, r"must be all there.*embeddings\.LayerNorm\.bias"),
        (without_sense, r"must be finite.*layer_._0/attention/self/query"),
    ],
)
def test_weights_that_are_not_there_are_not_made_up(
    tmp_path: Path, change: Callable[[Tensors], Tensors], match: str
) -> None:
    folder = write_safetensors(tmp_path, change(pytorch_tensors("float32")))
    with pytest.raises(ValueError, match=f"(?s){match}"):
        build(folder)


def test_more_layers_than_weights_are_refused(tmp_path: Path) -> None:
    tensors = pytorch_tensors("float32")
    folder = write_safetensors(tmp_path, tensors, num_hidden_layers=3)
    with pytest.raises(ValueError, match=r"must be all there.*encoder\.layer\.2\."):
        build(folder)


def test_infinity_in_16_bits_is_refused(tmp_path: Path) -> None:
    tensors = pytorch_tensors("float16")
    name = "embeddings.word_embeddings.weight"
    tensors[name] = tf.cast(tf.cast(tensors[name], tf.float32) * 1e6, tf.float16)
    with pytest.raises(ValueError, match="finite.*NaN or infinity.*word_embeddings"):
        build(write_safetensors(tmp_path, tensors))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_pooler_and_constants_may_be_there_or_not(tmp_path: Path, prefix: str) -> None:
    plain = pytorch_tensors("float32")
    more = {"embeddings.position_ids": tf.range(16)[tf.newaxis]}
    more |= {"pooler.dense.weight": tf.eye(8), "pooler.dense.bias": tf.zeros(8)}
    full = {f"{prefix}{name}": tensor for name, tensor in (plain | more).items()}
    one = build(write_safetensors(tmp_path / "plain", plain))
    two = build(write_safetensors(tmp_path / "full", full))
    texts = tf.constant(["red shoe"])
    np.testing.assert_array_equal(one.encode(texts), two.encode(texts))


@pytest.mark.parametrize("num_bytes", [0, 5, 3_000])
def test_cut_off_safetensors_are_refused(tmp_path: Path, num_bytes: int) -> None:
    folder = write_safetensors(tmp_path, pytorch_tensors("float32"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match=r"must be a model.*\(SafetensorError: "):
        build(folder)


@pytest.mark.parametrize("num_bytes", [0, 2_000])
def test_cut_off_h5_is_refused(tiny_bert: Path, tmp_path: Path, num_bytes: int) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    weights = folder / "tf_model.h5"
    weights.write_bytes(weights.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match="must be a model.*h5 file"):
        build(folder)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("changes", [{"hidden_size": 16}, {"vocab_size": 10}])
def test_sizes_that_do_not_fit_are_refused(
    tiny_bert: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    tensors = pytorch_tensors("float32")
    write_safetensors(tmp_path / "torch", tensors, **changes)
    shutil.copytree(tiny_bert, tmp_path / "h5")
    change_config(tmp_path / "h5", **changes)
    for name in ("torch", "h5"):
        with pytest.raises(ValueError, match="must have the sizes.*in place of"):
            build(tmp_path / name)


def test_settings_that_no_model_can_have_are_told(tmp_path: Path) -> None:
    tensors = pytorch_tensors("float32")
    folder = write_safetensors(tmp_path, tensors, num_attention_heads=3)
    with pytest.raises(ValueError, match="must be a model.*attention heads"):
        build(folder)


def test_missing_layer_of_h5_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    change_config(folder, num_hidden_layers=3)
    with pytest.raises(ValueError, match="must be all there.*layer_._2/.* and 13 more"):
        build(folder)


def test_nan_in_h5_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = next(n for n in names if n.endswith("word_embeddings/weight:0"))
        file[name][2] = np.nan  # pyright: ignore[reportIndexIssue]
    with pytest.raises(ValueError, match="must be finite.*word_embeddings"):
        build(folder)


def test_more_tokens_than_embeddings_are_refused(
    tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "bert")
    with open(folder / "vocab.txt", "a", encoding="utf-8") as vocabulary:
        vocabulary.write("desk\n")
    num_tokens = len(VOCABULARY)
    match = f"at most {num_tokens} tokens.*Received: {num_tokens + 1}"
    with pytest.raises(ValueError, match=match):
        build(folder)
