import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from export.errors import ExportGateError
from export.known_ops import TEXT_OPS, check_known_ops

NEW_OPS_OF_TEXT = """
import tensorflow as tf
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.python.client import pywrap_tf_session as session

def registered():
    data = session.TF_GetBuffer(session.TF_GetAllOpList())
    return {op.name for op in OpList.FromString(data).op}

before = registered()
import tensorflow_text
print("\\n".join(registered() - before))
"""


def save(function: Callable[..., tf.Tensor], path: Path, **options: bool) -> Path:
    module = tf.Module()
    traced = tf.function(function, **options)
    signature = traced.get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))
    tf.saved_model.save(module, str(path), signatures=signature)
    return path


def test_core_ops_pass(tmp_path: Path):
    path = save(lambda x: tf.math.top_k(tf.nn.softmax(x), 1)[0], tmp_path)
    assert "0 of them TensorFlow Text" in check_known_ops(path)


def test_call_back_into_python_is_refused(tmp_path: Path):
    path = save(lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), tmp_path)
    with pytest.raises(ExportGateError, match="op PyFunc"):
        check_known_ops(path)


def test_op_that_is_only_in_a_branch_is_found(tmp_path: Path):
    def branch(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            tf.reduce_any(x > 0),
            lambda: tf.py_function(lambda y: y, [x], tf.float32),
            lambda: x,
        )

    with pytest.raises(ExportGateError, match="op EagerPyFunc"):
        check_known_ops(save(branch, tmp_path))


def test_function_that_must_be_compiled_is_refused(tmp_path: Path):
    path = save(lambda x: x + 1, tmp_path, jit_compile=True)
    with pytest.raises(ExportGateError, match="attribute _XlaMustCompile"):
        check_known_ops(path)


def test_op_that_no_server_has_is_refused(tmp_path: Path):
    path = save(lambda x: x + 1, tmp_path)
    file = path / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"AddV2", b"AddV9"))
    with pytest.raises(ExportGateError, match="op AddV9 .in __inference"):
        check_known_ops(path)


@pytest.mark.slow
def test_text_ops_are_those_that_tensorflow_text_adds():
    result = subprocess.run(
        [sys.executable, "-c", NEW_OPS_OF_TEXT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(result.stdout.split()) == TEXT_OPS
