"""Protocol Buffers' encoding, as far as ONNX files use it, read with suspicion.

Source: "Encoding" in the Protocol Buffers documentation: a message is a row of fields, each a key
(field number and wire type) and a value. Nothing is copied but what is asked for, so that a list of
files is made without reading their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

MAX_FIELDS = 2_000_000
"""Of a whole file; an unfolded GPEN-512 has 60 000."""
MAX_TEXT_BYTES = 4096
"""Of a name; the longest that an exporter writes tell the whole path of a layer."""
_MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _CHUNK, _FIXED32 = 0, 1, 2, 5


class MalformedError(ValueError):
    """Bytes that are not what they should be; the text says what was found."""


class ForeignGraphError(MalformedError):
    """A whole ONNX model, of something else; the text says what was found."""


@dataclass(frozen=True)
class Chunk:
    """Where a field's bytes lie in the file."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


Value = int | Chunk
"""A whole number, or where the bytes of all other fields lie."""


class WireReader:
    """Reads messages out of an open file; the number of fields is bounded over all of them."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = MAX_FIELDS
        self.whole = Chunk(0, size)

    def fields(self, message: Chunk) -> Iterator[tuple[int, Value]]:
        """The number and the value of every field of a message, in the file's order.

        Raises:
            MalformedError: a field that leads out of its message, or too many of them.
        """
        position = message.start
        while position < message.end:
            self._left -= 1
            if self._left < 0:
                raise MalformedError(f"more than {MAX_FIELDS} fields")
            key, position = self._varint(position, message.end)
            kind = key & 7
            if kind == _VARINT:
                value, position = self._varint(position, message.end)
                yield key >> 3, value
                continue
            if kind == _CHUNK:
                length, position = self._varint(position, message.end)
            elif kind in (_FIXED32, _FIXED64):
                length = 4 if kind == _FIXED32 else 8
            else:
                raise MalformedError(f"a field of the unknown kind {kind} at byte {position}")
            chunk = Chunk(position, position + length)
            if chunk.end > message.end:
                raise MalformedError(
                    f"a field of {length} bytes at byte {position}, where {message.end - position} "
                    "are left"
                )
            yield key >> 3, chunk
            position = chunk.end

    def read(self, chunk: Chunk) -> bytes:
        """The bytes of a field."""
        self._file.seek(chunk.start)
        data = self._file.read(len(chunk))
        if len(data) != len(chunk):
            raise MalformedError(f"the file's end within a field at byte {chunk.start}")
        return data

    def text(self, value: Value) -> str:
        """The text of a field."""
        chunk = as_chunk(value)
        if len(chunk) > MAX_TEXT_BYTES:
            raise MalformedError(f"a name of {len(chunk)} bytes")
        try:
            return self.read(chunk).decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"a name that is no text at byte {chunk.start}") from None

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        self._file.seek(position)
        data = self._file.read(min(_MAX_VARINT_BYTES, end - position))
        value = 0
        for index, byte in enumerate(data):
            value |= (byte & 127) << (7 * index)
            if byte < 128:
                return value, position + index + 1
        raise MalformedError(f"a number without an end at byte {position}")


def as_chunk(value: Value) -> Chunk:
    """A field that must have bytes of its own."""
    if isinstance(value, int):
        raise MalformedError("a number in place of a text or a message")
    return value


def as_number(value: Value) -> int:
    """A field that must be a whole number, with its sign."""
    if not isinstance(value, int):
        raise MalformedError("bytes in place of a number")
    return value - (1 << 64) if value >> 63 else value


def unpack_varints(data: bytes) -> NDArray[np.int64]:
    """The whole numbers of a packed field.

    Raises:
        MalformedError: the last has no end, or one is longer than 64 bits.
    """
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes < 128)
    if len(codes) == 0:
        return np.zeros(0, np.int64)
    if len(ends) == 0 or ends[-1] != len(codes) - 1:
        raise MalformedError("a packed number without an end")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_VARINT_BYTES:
        raise MalformedError("a packed number of more than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for index in range(int(lengths.max())):
        longer = lengths > index
        part = (codes[starts[longer] + index] & 127).astype(np.uint64)
        values[longer] |= part << np.uint64(7 * index)
    return values.view(np.int64)
