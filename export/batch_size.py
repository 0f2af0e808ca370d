"""Refuses requests whose inputs are not of one batch."""

import tensorflow as tf


def of_one_batch(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Checks that all inputs of a signature have the same number of rows, 1 or more.

    Unchecked, an input of one row would be spread over all rows of the others, and
    other differences end in the message of some operation of the graph.

    Args:
        inputs: By name, each with the batch dimension first.

    Returns:
        The inputs, which are there only after the check.

    Raises:
        tf.errors.InvalidArgumentError: If sizes differ or are 0, when the graph runs.
    """
    names = sorted(inputs)
    sizes = tf.stack([tf.shape(inputs[name])[0] for name in names])
    message = (
        "All inputs must have the same batch size, at least 1. "
        f"Received, for {', '.join(names)}:"
    )
    is_one = tf.reduce_all(tf.equal(sizes, tf.maximum(sizes[0], 1)))
    check = tf.debugging.Assert(is_one, [message, sizes], summarize=len(names))
    # None when run eagerly, where a failed check raises at once.
    with tf.control_dependencies([] if check is None else [check]):
        return {name: tf.identity(value) for name, value in inputs.items()}
