"""Clouds of every format come back as they were written, and damaged ones are refused by name."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.kitti.cloud_formats import read_pcd, read_ply, unpack_lzf
from mlops_assets.data.kitti.clouds import PointRange, crop_to_range, read_bin, read_cloud, write_bin
from mlops_assets.data.kitti.viewing import open3d_library, read_with_open3d
from mlops_assets.errors import DataRejected, UserError

CLOUD = np.random.default_rng(7).uniform(-50, 50, (257, 4)).astype(np.float32)
PCD = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {n}\nHEIGHT 1\n" \
      "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA {data}\n"  # fmt: skip
PLY = "ply\nformat {data} 1.0\ncomment made for a test\nelement vertex {n}\nproperty float x\nproperty float y\n" \
      "property double z\nproperty uchar red\nproperty float intensity\nelement face 1\n" \
      "property list uchar int vertex_indices\nend_header\n"  # fmt: skip


def packed_lzf(data: bytes) -> bytes:
    """Literal runs, and back references where bytes repeat at distance 4: all that the format has."""
    out, position = bytearray(), 0
    while position < len(data):
        length = 0
        while 4 <= position + length < len(data) and length < 264 and data[position + length] == data[position + length - 4]:
            length += 1
        if position >= 4 and length >= 3:
            rest = length - 2
            out += bytes([(min(rest, 7) << 5)]) + (bytes([rest - 7]) if rest >= 7 else b"") + bytes([3])
            position += length
        else:
            out += bytes([0, data[position]])
            position += 1
    return bytes(out)


def pcd(data: str, cloud: np.ndarray = CLOUD) -> bytes:
    head = PCD.format(n=len(cloud), data=data).encode()
    if data == "ascii":
        return head + "\n".join(" ".join(repr(float(v)) for v in row) for row in cloud).encode()
    if data == "binary":
        return head + cloud.astype("<f4").tobytes()
    columns = cloud.T.astype("<f4").tobytes()
    packed = packed_lzf(columns)
    return head + struct.pack("<II", len(packed), len(columns)) + packed


def ply(data: str, cloud: np.ndarray = CLOUD) -> bytes:
    head = PLY.format(n=len(cloud), data=data).encode()
    if data == "ascii":
        rows = [f"{float(x)!r} {float(y)!r} {float(z)!r} 9 {float(i)!r}\n" for x, y, z, i in cloud]
        return head + "".join(rows).encode() + b"3 0 1 2\n"
    order = "<" if data == "binary_little_endian" else ">"
    return head + b"".join(struct.pack(order + "ffdBf", x, y, z, 9, i) for x, y, z, i in cloud) + b"\x03" + bytes(12)


def test_a_bin_file_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write_bin(tmp_path / "a.bin", CLOUD)
    assert np.array_equal(read_cloud(tmp_path / "a.bin"), CLOUD)
    assert (tmp_path / "a.bin").stat().st_size == 16 * len(CLOUD)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_pcd_files_of_every_encoding_are_read(tmp_path: Path, data: str) -> None:
    (tmp_path / "a.pcd").write_bytes(pcd(data))
    assert np.array_equal(read_cloud(tmp_path / "a.pcd"), CLOUD)


def test_compressed_pcd_of_repeating_values_is_read(tmp_path: Path) -> None:
    flat = np.full((500, 4), 1.25, np.float32)
    flat[::7] = CLOUD[0]
    (tmp_path / "a.pcd").write_bytes(pcd("binary_compressed", flat))
    assert np.array_equal(read_pcd(tmp_path / "a.pcd"), flat)


@pytest.mark.parametrize("data", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_files_of_every_encoding_are_read_past_colours_and_faces(tmp_path: Path, data: str) -> None:
    (tmp_path / "a.ply").write_bytes(ply(data))
    assert np.array_equal(read_cloud(tmp_path / "a.ply"), CLOUD)


def test_no_return_points_of_organised_clouds_are_left_out_and_half_nan_points_are_refused(tmp_path: Path) -> None:
    cloud = CLOUD.copy()
    cloud[3, :3] = np.nan
    (tmp_path / "a.pcd").write_bytes(pcd("binary", cloud))
    assert np.array_equal(read_pcd(tmp_path / "a.pcd"), np.delete(CLOUD, 3, axis=0))
    cloud[5, 1] = np.inf
    (tmp_path / "a.pcd").write_bytes(pcd("binary", cloud))
    with pytest.raises(DataRejected, match=r"a\.pcd has 1 points that are not finite"):
        read_pcd(tmp_path / "a.pcd")


def test_a_cloud_without_intensity_has_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_bytes(
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n"
    )
    assert read_ply(tmp_path / "a.ply").tolist() == [[1, 2, 3, 0]]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.bin", b"", "is empty"),
        ("a.bin", CLOUD.tobytes()[:-5], "256 points of 16 and 11 bytes: it was cut off"),
        ("a.bin", np.full(4, np.nan, np.float32).tobytes(), "1 points that are not finite, the first at 0"),
        ("a.pcd", b"", "is empty"),
        ("a.pcd", b"PCD", "no line DATA"),
        ("a.pcd", pcd("binary")[:-1], "ends after"),
        ("a.pcd", pcd("ascii")[:-30], "numbers; 257 points of 4 are declared"),
        ("a.pcd", pcd("binary_compressed")[:-1], "unpack to"),
        ("a.pcd", pcd("binary").replace(b"POINTS 257", b"POINTS 999999999"), "contradicts itself"),
        ("a.pcd", pcd("binary").replace(b"SIZE 4", b"SIZE 3"), "format does not know"),
        ("a.pcd", pcd("binary").replace(b"FIELDS x", b"FIELDS q"), "has no field x"),
        ("a.pcd", pcd("binary").replace(b"DATA binary", b"DATA zipped"), "ascii, binary and binary_compressed are known"),
        ("a.ply", b"PK\x03\x04", "is no PLY file"),
        ("a.ply", ply("binary_little_endian")[:2000], "ends after"),
        ("a.ply", ply("ascii").replace(b"element vertex", b"element edge"), "must begin with the element 'vertex'"),
        ("a.ply", ply("ascii").replace(b"float x", b"list uchar int x"), "no number"),
        ("a.las", b"x", "clouds of this kind are not read"),
    ],
)  # fmt: skip
def test_damaged_clouds_are_refused_by_name(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataRejected, match=name) as refused:
        read_cloud(tmp_path / name)
    assert told in str(refused.value)


@given(st.sampled_from([".bin", ".pcd", ".ply"]), st.integers(0, 3000), st.binary(max_size=30))
@settings(max_examples=120, deadline=None)
def test_overwritten_bytes_give_a_cloud_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, place: int, noise: bytes
) -> None:
    whole = {".bin": CLOUD.tobytes(), ".pcd": pcd("binary_compressed"), ".ply": ply("binary_little_endian")}[suffix]
    path = tmp_path_factory.getbasetemp() / f"noise{suffix}"
    path.write_bytes(whole[:place] + noise + whole[place + len(noise) :])
    try:
        cloud = read_cloud(path)
    except DataRejected as error:
        assert str(path) in str(error)
    else:
        assert cloud.dtype == np.float32 and cloud.shape[1] == 4 and np.isfinite(cloud).all()


@given(st.binary(max_size=300))
def test_unpacking_gives_back_what_was_packed(data: bytes) -> None:
    assert unpack_lzf(packed_lzf(data), len(data)) == data


@given(st.binary(max_size=60), st.integers(0, 100))
def test_unpacking_noise_gives_the_size_asked_for_or_nothing(noise: bytes, size: int) -> None:
    assert len(unpack_lzf(noise, size) or bytes(size)) == size


def test_the_range_is_closed_below_and_open_above() -> None:
    point_range = PointRange((0, -40, -3), (70, 40, 1))
    edge = np.array([[0, -40, -3, 0], [70, 0, 0, 0], [1, 40, 0, 0], [1, 0, 1, 0], [-1e-6, 0, 0, 0], [69.999, 39.999, 0.999, 0]])
    assert point_range.within(edge.astype(np.float32)).tolist() == [True, False, False, False, False, True]
    with pytest.raises(ValueError, match="minima below"):
        PointRange((0, 0, 0), (0, 1, 1))


def test_points_within_the_range_stay_whole_and_in_their_order() -> None:
    kept = crop_to_range(CLOUD, PointRange((-20, -30, -40), (20, 30, 40)))
    expected = [point for point in CLOUD.tolist() if abs(point[0]) < 20 and abs(point[1]) < 30 and abs(point[2]) < 40]
    assert 0 < len(expected) < len(CLOUD) and kept.tolist() == expected


def test_the_range_keeps_the_known_number_of_points_of_the_real_clouds(shared: Path) -> None:
    velodyne = shared / "data/kitti/object/training/velodyne"
    kept = [len(crop_to_range(read_bin(velodyne / f"{name}.bin"))) for name in ("000000", "000001", "000002")]
    assert kept == [62853, 61544, 63761]  # one point of 000001 lies at exactly z = 1, which a half-open range leaves out


def test_without_open3d_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    (tmp_path / "a.xyz").write_text("1 2 3\n")
    with pytest.raises((UserError, ImportError)) as refused:
        read_with_open3d(tmp_path / "a.xyz")
    assert "issue-mlops[pointclouds]" in str(refused.value)


@pytest.mark.parametrize(("library", "package"), [("libusb-1.0.so.0", "libusb-1.0-0"), ("libGL.so.1", "libgl1")])
def test_a_missing_system_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str, package: str
) -> None:
    (tmp_path / "open3d").mkdir()
    (tmp_path / "open3d" / "__init__.py").write_text(f"import ctypes\nctypes.CDLL('{tmp_path}/none/{library}')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    with pytest.raises(UserError) as refused:
        open3d_library()
    assert library in str(refused.value) and f"apt-get install {package}" in str(refused.value)
