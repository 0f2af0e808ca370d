"""Tensors of all replicas, where a strategy has several."""

from typing import Any

import tensorflow as tf


def num_gathering_replicas() -> int:
    """Returns how many replicas a step runs on; 1 outside of a replica."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather_over_replicas(values: Any) -> Any:
    """Joins tensors of all replicas along their first axis, replica by replica.

    Where each replica minimises a loss of its own, and gradients are summed, the
    gradient of a gathered value is what all those losses say of it: it flows back to
    the replica that the value came from. Replicas may differ in their first dimension.
    Not to be called inside a loop or a condition of the graph.

    Args:
        values: A tensor or a nest of tensors, each `[num_rows, ...]`.

    Returns:
        The same nest, `[num_rows of all replicas, ...]`; `values` themselves where
        there is one replica, or none (outside of a strategy's `run`).
    """
    if num_gathering_replicas() == 1:
        return values
    context: Any = tf.distribute.get_replica_context()
    # One by one: the gradient of a joint gather cannot mix integers with floats.
    return tf.nest.map_structure(lambda v: context.all_gather(v, axis=0), values)


def first_own_row(num_rows: tf.Tensor) -> tf.Tensor:
    """Returns int32 scalar, where the rows of this replica begin among the gathered.

    Args:
        num_rows: int32 scalar, how many rows this replica gives.
    """
    if num_gathering_replicas() == 1:
        return tf.constant(0)
    context: Any = tf.distribute.get_replica_context()
    sizes = gather_over_replicas(tf.reshape(num_rows, [1]))
    return tf.reduce_sum(sizes[: context.replica_id_in_sync_group])
