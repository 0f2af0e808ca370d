"""NumPy arrays to TensorProto messages and back."""

import numpy as np

from tfrec_client import wire_pb2 as wire

_NAME_OF_DTYPE = {
    wire.DT_STRING: "string",
    wire.DT_INT64: "int64",
    wire.DT_INT32: "int32",
    wire.DT_FLOAT: "float32",
    wire.DT_DOUBLE: "float64",
    wire.DT_BOOL: "bool",
}
_DTYPE_OF_NAME = {name: dtype for dtype, name in _NAME_OF_DTYPE.items()}
_FIELD_OF_NAME = {
    "int64": "int64_val",
    "int32": "int_val",
    "float32": "float_val",
    "float64": "double_val",
    "bool": "bool_val",
}


def dtype_name(dtype: int) -> str:
    """Returns `string`, `int64`, ...; a number for types this client never sends."""
    return _NAME_OF_DTYPE.get(dtype, f"DataType {dtype}")  # pyright: ignore


def encode_tensor(array: np.ndarray, message: wire.TensorProto) -> None:
    """Writes an array into a message.

    Args:
        array: Numbers or booleans of one of the known dtypes; or `object` or
            `str_`, holding str or bytes.
        message: An empty message; it is filled.

    Raises:
        TypeError: If the dtype is not one of the known ones.
    """
    is_text = array.dtype.kind in "OUS"
    name = "string" if is_text else array.dtype.name
    if name not in _DTYPE_OF_NAME:
        raise TypeError(
            f"`array` must have one of the dtypes {sorted(_DTYPE_OF_NAME)}. "
            f"Received: array.dtype={array.dtype}."
        )
    message.dtype = _DTYPE_OF_NAME[name]
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    if is_text:
        values = array.ravel().tolist()
        strange = [v for v in values if not isinstance(v, str | bytes)]
        if strange:
            raise TypeError(
                "an array of objects must hold str or bytes. Received: "
                f"{strange[0]!r} ({type(strange[0]).__name__})."
            )
        message.string_val.extend(
            v.encode() if isinstance(v, str) else v for v in values
        )
    else:
        little_endian = array.dtype.newbyteorder("<")
        message.tensor_content = np.ascontiguousarray(array, little_endian).tobytes()


def decode_tensor(message: wire.TensorProto) -> np.ndarray:
    """Returns the array of a message; strings as an `object` array of str.

    Fewer values than the shape asks for mean that the last one repeats.

    Raises:
        TypeError: If the dtype is not one of the known ones.
        ValueError: If the values do not fill the shape.
    """
    name = dtype_name(message.dtype)
    shape = tuple(d.size for d in message.tensor_shape.dim)
    count = int(np.prod(shape))
    if name == "string":
        values = np.empty(len(message.string_val), object)
        values[:] = [v.decode() for v in message.string_val]
    elif name not in _FIELD_OF_NAME:
        raise TypeError(f"Cannot read a tensor of {name}.")
    elif message.tensor_content:
        values = np.frombuffer(
            message.tensor_content, np.dtype(name).newbyteorder("<")
        ).astype(name)
    else:
        values = np.array(getattr(message, _FIELD_OF_NAME[name]), name)
    if 0 < len(values) < count:
        values = np.append(
            values, np.full(count - len(values), values[-1], values.dtype)
        )
    if len(values) != count:
        raise ValueError(
            f"A tensor of shape {shape} must hold {count} values. "
            f"Received: {len(values)}."
        )
    return values.reshape(shape)
