"""Parts of several signatures that are traced and stored once."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf


class SharedCall:
    """A function of tensors that all signatures call, instead of repeating it.

    Within a trace it is one graph function: traced at the first call, written once,
    and called by every signature. The runtime inlines it where it is called, so an
    answer takes no longer; but the graph is smaller, and tracing, writing, loading
    and the first request to each signature all go with its size. Eagerly it runs op
    by op, as if it stood where it is called: the parity gate compares with that.

    Args:
        function: Takes and returns nests of tensors; None and () may be in them.
            Nothing else may differ from call to call.

    Example:
        >>> double = SharedCall(lambda x: x + x)
        >>> double(tf.constant([1, 2])).numpy()
        array([2, 4], dtype=int32)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        # Nothing here needs AutoGraph, which takes longer than all the rest.
        self._traced = tf.function(function, autograph=False)
        self._known: dict[tuple[Any, ...], Any] | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Returns what the function returns."""
        if not tf.executing_eagerly():
            return self._traced(*inputs)
        if self._known is None:
            return self._function(*inputs)
        key = tuple(_values(leaf) for leaf in tf.nest.flatten(inputs))
        if key not in self._known:
            self._known[key] = self._function(*inputs)
        return self._known[key]

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        """Within the block, equal inputs are computed once where it runs eagerly."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None


def _values(leaf: Any) -> Any:
    if not tf.is_tensor(leaf):
        return leaf
    array = leaf.numpy()
    return array.dtype.str, array.shape, tuple(array.ravel().tolist())
