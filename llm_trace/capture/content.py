"""A hash of what a large value holds: equal contents are the same input, whatever is shown of them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from typing import Any

HASH = "blake2b"
"""Key of the hash in a record that shows a part only."""
MOST_BYTES = 32_000_000
"""What is hashed of one value: about 30 ms in the caller's thread. Beyond that, inputs are not matched."""


def hash_bytes(*parts: bytes | memoryview) -> str:
    """Return the hash of a content, 32 hex digits."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def content_hash(value: Any) -> dict[str, str]:
    """Return `{"blake2b": …}` of an array or a frame, or {} where it is too large or cannot be read."""
    root = type(value).__module__.partition(".")[0]
    try:
        parts = _FRAMES.get(root, _read_array)(value)
        return {HASH: hash_bytes(*parts)} if parts is not None else {}
    except Exception:  # on no device, of unhashable objects, of a version that reads otherwise
        return {}


def is_cut(record: Any) -> bool:
    """Return whether recorded JSON lacks a part and its hash, so that it may stand for several values.

    Objects inside an object of which only the class is named (a client, a lock) are no data.
    """
    if isinstance(record, list):
        return any(map(is_cut, record))
    if not isinstance(record, dict):
        return False
    if "__type__" in record and record.get("truncated") and HASH not in record:
        return len(record) > 2 or "." not in str(record["__type__"])
    return any(map(is_cut, record.values()))


def is_frame(value: Any) -> bool:
    """Return whether a value is a table or a column, whose `repr` leaves out most of it."""
    cls = type(value)
    return cls.__module__.partition(".")[0] in _FRAMES and hasattr(cls, "shape")


def read_device(value: Any) -> str:
    """Return the device that an array's values are on; numpy's own are on none but the processor."""
    return str(getattr(value, "device", "cpu"))


def _read_array(value: Any) -> Iterable[bytes | memoryview] | None:
    numpy: Any = sys.modules.get("numpy")
    if read_device(value) != "cpu" or value.nbytes > MOST_BYTES or hasattr(value, "mask"):
        return None  # a masked array's values do not say all
    dtype = str(value.dtype)
    if hasattr(value, "detach"):  # torch, which has types that numpy has not
        value = value.detach().contiguous().reshape(-1).view(sys.modules["torch"].uint8)
    array = numpy.asarray(value)
    if array.dtype.hasobject:
        return None
    return [dtype.encode(), memoryview(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8))]


def _read_pandas(value: Any) -> Iterable[bytes | memoryview] | None:
    pandas: Any = sys.modules["pandas"]
    memory = value.memory_usage(index=True)
    if int(memory.sum() if hasattr(memory, "sum") else memory) > MOST_BYTES:
        return None
    columns = [value[name] for name in value.columns] if hasattr(value, "columns") else [value]
    kinds = [(c.name, str(c.dtype), pandas.api.types.infer_dtype(c, skipna=False)) for c in columns]
    rows = pandas.util.hash_pandas_object(value, index=True).to_numpy()
    return [repr((kinds, list(value.index.names))).encode("utf-8", "surrogatepass"), rows.tobytes()]


def _read_polars(value: Any) -> Iterable[bytes | memoryview] | None:
    frame = value.to_frame() if hasattr(value, "to_frame") else value
    if frame.estimated_size() > MOST_BYTES:
        return None
    return [frame.rechunk().write_ipc(None).getvalue()]


def _read_arrow(value: Any) -> Iterable[bytes | memoryview] | None:
    if value.nbytes > MOST_BYTES:
        return None
    pyarrow: Any = sys.modules["pyarrow"]
    table = pyarrow.table(value) if hasattr(value, "schema") else pyarrow.table({"": value})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return [memoryview(sink.getvalue())]


_FRAMES = {"pandas": _read_pandas, "polars": _read_polars, "pyarrow": _read_arrow}
