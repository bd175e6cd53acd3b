"""Pictures that lie in the parquet as PNG or JPEG."""

from fractions import Fraction

import av
import numpy as np
import pyarrow as pa
import pytest

from rl.api import InputError
from tests.plugins.lerobot_format.sets import edit_info, edit_table, read

KEY = "observation.images.still"


def encoded(image: np.ndarray, codec: str = "png") -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt = "rgb24" if codec == "png" else "yuvj444p"
    context.time_base = Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=context.pix_fmt)
    return b"".join(bytes(p) for p in context.encode(frame) + context.encode(None))


def image(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def stills(tiny):
    def build(make):
        feature = {"dtype": "image", "shape": [20, 30, 3], "names": ["height", "width", "channels"]}
        edit_info(tiny, lambda info: info["features"].update({KEY: feature}))
        for number in range(3):

            def add(table):
                rows = table.column("index").to_pylist()
                kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
                return table.append_column(KEY, pa.array([make(r) for r in rows], kind))

            edit_table(tiny / f"data/chunk-000/file-00{number}.parquet", add)
        return read(tiny)

    return build


def test_png_bytes_come_back_exactly(stills):
    reader = stills(lambda r: {"bytes": encoded(image(r)), "path": None})
    got = reader.frames(KEY, np.array([20, 3, 3, 0]))
    assert all(np.array_equal(g, image(r)) for g, r in zip(got, (20, 3, 3, 0), strict=True))
    assert reader.frames(KEY, np.array([1]), (10, 15)).shape == (1, 10, 15, 3)


def test_jpeg_bytes_come_back_nearly(stills):
    reader = stills(lambda r: {"bytes": encoded(np.full((20, 30, 3), 7 * r, np.uint8), "mjpeg"), "path": None})
    got = reader.frames(KEY, np.arange(21)).reshape(21, -1).mean(axis=1)
    assert np.abs(got - 7 * np.arange(21)).max() < 3


def test_a_relative_path_inside_the_set_is_read(stills, tiny):
    (tiny / "images").mkdir()
    for row in range(21):
        (tiny / "images" / f"{row}.png").write_bytes(encoded(image(row)))
    reader = stills(lambda r: {"bytes": None, "path": f"images/{r}.png"})
    assert np.array_equal(reader.frames(KEY, np.array([4]))[0], image(4))


@pytest.mark.parametrize(
    "value",
    [
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": None, "path": "../../secret.png"},
        {"bytes": None, "path": None},
        {"bytes": b"GIF89a", "path": None},
        {"bytes": encoded(image(0))[:60], "path": None},
        {"bytes": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x08\x02\0\0\0", "path": None},
        {"bytes": b"\x89PNG\r\n\x1a\n", "path": None},
    ],
)
def test_what_is_no_picture_is_refused_with_its_row(stills, value):
    reader = stills(lambda r: value)
    with pytest.raises(InputError, match=f"column {KEY}, row 2"):
        reader.frames(KEY, np.array([2]))
