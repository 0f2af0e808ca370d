from typing import Any

import pytest
import tensorflow as tf

from export.shared_call import SharedCall


class Counted:
    """Adds up, and counts how often its Python runs."""

    def __init__(self) -> None:
        self.factor = tf.Variable(tf.constant(3.0))
        self.count = 0

    def __call__(self, values: dict[str, Any], nothing: tuple[()]) -> Any:
        self.count += 1
        total = tf.reduce_sum(values["x"]) * self.factor
        return {"total": total, "nothing": nothing, "none": None}


@pytest.fixture
def counted() -> Counted:
    return Counted()


def inputs(*numbers: float) -> tuple[dict[str, tf.Tensor], tuple[()]]:
    return {"x": tf.constant(numbers), "name": tf.constant(["a"])}, ()


def test_graphs_that_call_it_share_one_function(counted: Counted):
    shared = SharedCall(counted)
    spec = tf.TensorSpec([None], tf.float32)
    functions = [
        tf.function(
            lambda x, sign=sign: (
                sign * shared({"x": x, "name": tf.constant(["a"])}, ())["total"]
            )
        ).get_concrete_function(spec)
        for sign in (1.0, -1.0)
    ]
    assert counted.count == 1
    answers = [function(tf.constant([1.0, 2.0])).numpy() for function in functions]
    assert answers == [9.0, -9.0]
    called = [
        {op.get_attr("f").name for op in f.graph.get_operations() if "Call" in op.type}
        for f in functions
    ]
    assert called[0] == called[1] != set()
    # What it reads is known to the graphs: else it would not be saved.
    for function in functions:
        assert [v.ref() for v in function.graph.variables] == [counted.factor.ref()]


def test_eagerly_it_runs_op_by_op_at_every_call(counted: Counted):
    shared = SharedCall(counted)
    shared(*inputs(1.0, 2.0))
    answer = shared(*inputs(1.0, 2.0))
    assert counted.count == 2
    assert answer["total"].numpy() == 9.0
    assert (answer["nothing"], answer["none"]) == ((), None)


def test_equal_inputs_are_computed_once_while_it_remembers(counted: Counted):
    shared = SharedCall(counted)
    with shared.remembering():
        totals = [
            shared(*inputs(*numbers))["total"].numpy()
            for numbers in ((1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (1.0,))
        ]
    assert totals == [9.0, 9.0, 9.0, 3.0]
    assert counted.count == 3
    counted.factor.assign(1.0)
    assert shared(*inputs(1.0, 2.0))["total"].numpy() == 3.0


def test_shape_and_dtype_tell_inputs_apart_while_it_remembers():
    shapes = SharedCall(lambda x: x)
    with shapes.remembering():
        for x in (tf.zeros([1, 2]), tf.zeros([2, 1]), tf.zeros([2, 1], tf.int32)):
            found = shapes(x)
            assert (found.shape, found.dtype) == (x.shape, x.dtype)
