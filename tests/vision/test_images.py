import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from vision.images import ImageError, decode_image, perceptual_hash


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=2).astype(np.uint8)


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "lossless": True} if kind == "WEBP" else {"exif": exif}
    return file(Image.fromarray(picture()), kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_pictures_come_back_unchanged(kind: str):
    decoded = decode_image(file(Image.fromarray(picture()), kind))
    assert (decoded.format, decoded.width_px, decoded.height_px) == (kind, 60, 40)
    assert np.array_equal(decoded.rgb, picture())
    assert decoded.rgb.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_undone(kind: str, orientation: int):
    data = oriented(kind, orientation)
    decoded = decode_image(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    assert decoded.exif_orientation == orientation
    assert np.array_equal(decoded.rgb, expected)
    assert (decoded.height_px, decoded.width_px) == expected.shape[:2]


def test_a_sixteen_bit_ramp_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(1, 256)
    decoded = decode_image(file(Image.fromarray(ramp)))
    assert np.array_equal(decoded.rgb[0, :, 0], np.arange(256))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_becomes_white(mode: str):
    image = Image.fromarray(picture()).convert(mode)
    image.putalpha(0)
    assert (decode_image(file(image)).rgb == 255).all()


def test_a_transparent_palette_entry_becomes_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    rgb = decode_image(file(image, "PNG", transparency=0)).rgb
    assert rgb[0, 0].tolist() == [255, 255, 255]
    assert rgb[3, 3].tolist() == [10, 20, 30]


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("1", "PNG"), ("L", "GIF")])
def test_other_colour_modes_become_rgb(mode: str, kind: str):
    decoded = decode_image(file(Image.new("RGB", (8, 5), "white").convert(mode), kind))
    assert decoded.rgb.shape == (5, 8, 3)
    assert (decoded.rgb > 250).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes_decode_and_hash(size: tuple[int, int]):
    decoded = decode_image(file(Image.new("RGB", size)))
    assert (decoded.width_px, decoded.height_px) == size
    assert len(perceptual_hash(decoded.rgb)) == 16


def png_header(width: int, height: int) -> bytes:
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0"


def flipped_bit(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 20
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    return file(frames[0], kind, save_all=True, append_images=frames[1:])


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "image.empty"),
        (b"<html><body>404</body></html>", "image.format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image.format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image.format"),
        (file(NOISE, "BMP"), "image.format"),
        (file(NOISE, "JPEG")[:2000], "image.truncated"),
        (file(NOISE, "PNG")[:9000], "image.truncated"),
        (flipped_bit(file(NOISE, "PNG")), "image.corrupt"),
        (png_header(100_000, 100_000), "image.too_large"),
        (png_header(9_000, 9_000), "image.too_large"),
        (animation("GIF"), "image.animated"),
        (animation("WEBP"), "image.animated"),
        (animation("TIFF"), "image.animated"),
        (file(Image.new("F", (4, 4)), "TIFF"), "image.pixel_type"),
        (file(Image.new("I", (4, 4)), "TIFF"), "image.pixel_type"),
    ],
)
def test_unusable_bytes_are_refused_by_rule(data: bytes, rule: str):
    with pytest.raises(ImageError) as caught:
        decode_image(data, max_px=50_000_000)
    assert caught.value.rule == rule


def test_a_damaged_exif_block_does_not_cost_the_picture():
    data = oriented("JPEG", 6).replace(b"Exif\0\0MM", b"Exif\0\0XX")
    assert decode_image(data).exif_orientation == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.filterwarnings("ignore")  # damaged metadata makes Pillow warn
def test_random_damage_never_raises_anything_but_an_image_error(kind: str):
    random = np.random.default_rng(7)
    good = file(Image.fromarray(picture()), kind)
    for _ in range(200):
        data = bytearray(good)
        for at in random.integers(0, len(data), 3):
            data[at] = int(random.integers(0, 256))
        try:
            decoded = decode_image(bytes(data), max_px=1_000_000)
        except ImageError as error:
            assert error.rule.startswith("image.")
        else:
            assert decoded.rgb.shape == (decoded.height_px, decoded.width_px, 3)


def test_near_duplicates_share_most_hash_bits_and_others_do_not():
    y, x = np.mgrid[0:200, 0:300]
    waves = (np.sin(x / 23.0) * np.cos(y / 31.0) * 100 + 128).astype(np.uint8)
    original = np.repeat(waves[..., None], 3, axis=2)
    image = Image.fromarray(original)
    smaller = decode_image(file(image.resize((150, 100)), "JPEG", quality=60)).rgb
    mirrored = np.ascontiguousarray(original[:, ::-1])

    def distance(first: np.ndarray, second: np.ndarray) -> int:
        return (int(perceptual_hash(first), 16) ^ int(perceptual_hash(second), 16)).bit_count()

    assert distance(original, smaller) <= 4
    assert distance(original, mirrored) > 10
