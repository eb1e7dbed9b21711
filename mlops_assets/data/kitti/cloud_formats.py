"""Point clouds of `.pcd` and `.ply` files, read with numpy alone: text, binary and (PCD) LZF-compressed.

Only x, y, z and one intensity are read; colours, normals and faces are passed over. KITTI's own format is in ``clouds``.

Source: pointclouds.org "The PCD file format" 0.7; Greg Turk, "The PLY polygon file format".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlops_assets.data.kitti.clouds import MOST_POINTS, Cloud, damaged, finite
from mlops_assets.data.reasons import because

#: Names under which scanners and tools write the fourth number; a file without any has reflectance 0.
INTENSITIES = ("intensity", "i", "reflectance", "reflectivity", "scalar_intensity", "scalar_reflectance")
_LONGEST_HEADER = 16 * 1024
_MOST_BYTES = MOST_POINTS * 64
_PCD_TYPES = {
    ("F", 4): "f4", ("F", 8): "f8", ("I", 1): "i1", ("I", 2): "i2", ("I", 4): "i4", ("I", 8): "i8",
    ("U", 1): "u1", ("U", 2): "u2", ("U", 4): "u4", ("U", 8): "u8",
}  # fmt: skip
_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip


def read_pcd(path: Path) -> Cloud:
    """The cloud ``(N, 4)`` of a PCD file; x, y, z [m] and intensity as written.

    Points of which all three coordinates are NaN are the format's "no return" in organised clouds and are left out.

    Raises:
        DataRejected: naming the file: no PCD, a header that is incomplete or contradicts itself, data cut off or damaged.
        OSError: the file cannot be read.
    """
    content = _content(path)
    header, body = _pcd_header(path, content)
    names = header.get("FIELDS", [])
    sizes, counts = _numbers(path, header, "SIZE"), _numbers(path, header, "COUNT", default=[1] * len(names))
    kinds = header.get("TYPE", [])
    points = _numbers(path, header, "POINTS")[0]
    if not len(names) == len(sizes) == len(kinds) == len(counts) or not 0 < points <= MOST_POINTS:
        raise damaged(path, "has a header that contradicts itself: FIELDS, SIZE, TYPE, COUNT and POINTS must agree")
    layout: list[tuple[str, str, int]] = []
    for name, kind, size, count in zip(names, kinds, sizes, counts, strict=True):
        if (kind, size) not in _PCD_TYPES or not 1 <= count <= 4096:
            raise damaged(path, f"declares field {name[:40]!r} as {count} x {kind[:8]}{size}, which the format does not know")
        layout.append((name.lower(), "<" + _PCD_TYPES[kind, size], count))
    encoding = header["DATA"][0].lower() if header["DATA"] else ""
    if encoding == "ascii":
        columns = _text_columns(path, content[body:], points, layout)
    elif encoding == "binary":
        columns = _row_columns(path, content[body:], points, layout)
    elif encoding == "binary_compressed":
        columns = _compressed_columns(path, content[body:], points, layout)
    else:
        raise damaged(path, f"has DATA {encoding[:20]!r}; ascii, binary and binary_compressed are known")
    cloud = _cloud(path, columns)
    return finite(path, cloud[~np.isnan(cloud[:, :3]).all(axis=1)])


def read_ply(path: Path) -> Cloud:
    """The cloud ``(N, 4)`` of the vertices of a PLY file; x, y, z [m] and intensity as written.

    Raises:
        DataRejected: naming the file: no PLY, vertices that are not its first element, data cut off or damaged.
        OSError: the file cannot be read.
    """
    content = _content(path)
    end = content.find(b"end_header", 0, _LONGEST_HEADER)
    line_end = content.find(b"\n", end)
    if not content.startswith(b"ply") or end < 0 or line_end < 0:
        raise damaged(path, "is no PLY file: it must begin with 'ply' and have an 'end_header'")
    encoding, points, layout = "", -1, list[tuple[str, str, int]]()
    elements = 0
    for line in content[:end].decode("ascii", errors="replace").splitlines():
        fields = line.split()
        if fields[:1] == ["format"] and len(fields) >= 2:
            encoding = fields[1]
        elif fields[:1] == ["element"] and len(fields) == 3:
            elements += 1
            if elements == 1 and fields[1] == "vertex" and fields[2].isascii() and fields[2].isdigit():
                points = int(fields[2][:12])
        elif fields[:1] == ["property"] and elements == 1:
            if len(fields) != 3 or fields[1] not in _PLY_TYPES:
                raise damaged(path, f"has a vertex property that is no number: {line[:60]!r}")
            layout.append((fields[2].lower(), _PLY_TYPES[fields[1]], 1))
    if not 0 < points <= MOST_POINTS:
        raise damaged(path, "must begin with the element 'vertex' and have at least one")
    body = content[line_end + 1 :]
    if encoding == "ascii":
        return finite(path, _cloud(path, _text_columns(path, body, points, layout, further=elements > 1)))
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(encoding)
    if order is None:
        raise damaged(path, f"has format {encoding[:20]!r}; ascii, binary_little_endian and binary_big_endian are known")
    ordered = [(name, order + kind, count) for name, kind, count in layout]
    return finite(path, _cloud(path, _row_columns(path, body, points, ordered)))


_Columns = dict[str, NDArray[np.float32]]


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise damaged(path, f"has {size:,} bytes: no cloud of one frame does")
    if size == 0:
        raise damaged(path, "is empty: 0 bytes", because("empty"))
    return path.read_bytes()


def _pcd_header(path: Path, content: bytes) -> tuple[dict[str, list[str]], int]:
    """Words of each header line, and where the data begin."""
    header: dict[str, list[str]] = {}
    position = 0
    while position < min(len(content), _LONGEST_HEADER):
        end = content.find(b"\n", position)
        end = len(content) if end < 0 else end
        fields = content[position:end].decode("ascii", errors="replace").split()
        position = end + 1
        if fields and not fields[0].startswith("#"):
            header[fields[0].upper()] = fields[1:]
        if fields and fields[0].upper() == "DATA":
            return header, position
    raise damaged(path, "is no PCD file: its header has no line DATA")


def _numbers(path: Path, header: dict[str, list[str]], key: str, default: list[int] | None = None) -> list[int]:
    words = header.get(key)
    if words is None and default is not None:
        return default
    if not words or not all(word.isascii() and word.isdigit() and len(word) <= 9 for word in words):
        raise damaged(path, f"has no header line {key} of whole numbers")
    return [int(word) for word in words]


def _text_columns(path: Path, body: bytes, points: int, layout: list[tuple[str, str, int]], *, further: bool = False) -> _Columns:
    width = sum(count for _, _, count in layout)
    words = body.split(maxsplit=width * points)[: width * points] if further else body.split()
    if len(words) != width * points:
        raise damaged(path, f"has {len(words):,} numbers; {points:,} points of {width} are declared")
    try:
        values = np.array(words, dtype=np.float64).reshape(points, width)
    except ValueError as error:
        raise damaged(path, f"has text where a number is needed: {error}") from error
    columns, position = {}, 0
    for name, _, count in layout:
        with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused as such
            columns[name] = values[:, position].astype(np.float32)
        position += count
    return columns


def _row_columns(path: Path, body: bytes, points: int, layout: list[tuple[str, str, int]]) -> _Columns:
    row = np.dtype([(f"f{number}", kind, (count,)) for number, (_, kind, count) in enumerate(layout)])
    if len(body) < points * row.itemsize:
        what = f"ends after {len(body):,} bytes of data; {points:,} points need {points * row.itemsize:,}"
        raise damaged(path, what, because("cut_off", bytes=len(body)))
    rows = np.frombuffer(body, dtype=row, count=points)
    with np.errstate(over="ignore"):
        return {name: rows[f"f{number}"][:, 0].astype(np.float32) for number, (name, _, _) in enumerate(layout)}


def _compressed_columns(path: Path, body: bytes, points: int, layout: list[tuple[str, str, int]]) -> _Columns:
    """Field after field, each of all points, LZF-compressed as one block after the two sizes."""
    needed = points * sum(np.dtype(kind).itemsize * count for _, kind, count in layout)
    sizes = np.frombuffer(body[:8], dtype="<u4").tolist() if len(body) >= 8 else [0, 0]
    if sizes[1] != needed or len(body) < 8 + sizes[0]:
        raise damaged(path, f"has compressed data of {len(body):,} bytes; {points:,} points unpack to {needed:,}")
    data = unpack_lzf(body[8 : 8 + sizes[0]], needed)
    if data is None:
        raise damaged(path, "has compressed data that do not unpack")
    columns, position = {}, 0
    for name, kind, count in layout:
        field = np.frombuffer(data, dtype=kind, count=points * count, offset=position).reshape(points, count)
        with np.errstate(over="ignore"):
            columns[name] = field[:, 0].astype(np.float32)
        position += field.nbytes
    return columns


def unpack_lzf(data: bytes, size: int) -> bytes | None:
    """LZF-compressed ``data`` unpacked to exactly ``size`` bytes; None when it is damaged.

    Source: the format of liblzf by Marc Lehmann: literal runs (control byte below 32) and back references.
    """
    out = bytearray()
    position, end = 0, len(data)
    while position < end and len(out) <= size:
        control = data[position]
        position += 1
        if control < 32:
            out += data[position : position + control + 1]
            position += control + 1
            continue
        length = control >> 5
        if length == 7 and position < end:
            length += data[position]
            position += 1
        if position >= end:
            return None
        start = len(out) - ((control & 31) << 8) - data[position] - 1
        position += 1
        length += 2
        if start < 0:
            return None
        piece = out[start : start + length]
        while len(piece) < length:  # the reference reaches into what it writes: the piece repeats
            piece += piece[: length - len(piece)]
        out += piece
    return bytes(out) if len(out) == size and position == end else None


def _cloud(path: Path, columns: _Columns) -> Cloud:
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise damaged(path, f"has no field {', '.join(missing)}; it has {', '.join(columns)[:200]}")
    intensity = next((columns[name] for name in INTENSITIES if name in columns), np.zeros_like(columns["x"]))
    return np.stack([columns["x"], columns["y"], columns["z"], intensity], axis=1)
