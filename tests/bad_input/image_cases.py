"""Cases 37 and 102 to 125: image files."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from tests.bad_input.bad_drop import HEIGHT_PX, WIDTH_PX, case, noise, plain_picture

ORIENTATION = 0x0112


def encoded(array, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def file(name, make):
    return lambda drop: drop.replace_picture(name, make())


def damaged(data, at, bits=0xFF):
    place = int(len(data) * at)
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def png_of_size(width_px, height_px):
    """A PNG whose header promises a size; its pixels are few zero bytes."""
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def frames(kind):
    buffer = io.BytesIO()
    pictures = [Image.fromarray(np.full((48, 64, 3), value, np.uint8)) for value in (9, 99)]
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


def with_large_text():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 10_000_000, zip=True)
    return encoded(plain_picture(), "PNG", pnginfo=info)


def with_broken_exif():
    data = encoded(plain_picture(), "JPEG")
    block = b"Exif\0\0II*\0\xff\xff\xff\xff"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def palette_with_transparency():
    picture = Image.fromarray(plain_picture()).quantize(4)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=0)
    return buffer.getvalue()


def sixteen_bits():
    ramp = np.linspace(0, 65535, HEIGHT_PX * WIDTH_PX).reshape(HEIGHT_PX, WIDTH_PX)
    return encoded(ramp.astype(np.uint16), "PNG")


def cmyk():
    buffer = io.BytesIO()
    Image.fromarray(plain_picture()).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


case(102, "image", "image.empty")(file("p2.jpg", lambda: b""))
case(103, "image", "image.format")(file("p2.jpg", lambda: b"<html><body>404</body></html>"))
case(104, "image", "image.format")(
    file("p2.svg", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
)
case(105, "image", "image.truncated")(file("p2.jpg", lambda: encoded(noise(), "JPEG")[:-900]))
case(106, "image", "image.truncated")(file("p2.png", lambda: encoded(noise(), "PNG")[:-2000]))
case(107, "image", "image.corrupt")(file("p2.png", lambda: damaged(encoded(noise(), "PNG"), 0.6)))
case(108, "accept")(file("p2.jpg", lambda: damaged(encoded(noise(), "JPEG"), 0.7, bits=1)))
case(109, "fix")(file("p2.jpg", lambda: encoded(plain_picture(), "PNG")))
case(110, "image", "image.too_large")(file("p2.png", lambda: png_of_size(100_000, 100_000)))
case(111, "image", "image.too_large")(file("p2.png", lambda: png_of_size(12_000, 12_000)))
case(113, "accept")(file("p2.jpg", with_broken_exif))
case(114, "fix")(file("p2.jpg", cmyk))
case(115, "fix")(file("p2.png", palette_with_transparency))
case(116, "fix")(file("p2.png", sixteen_bits))
case(117, "fix")(file("p2.png", lambda: encoded(plain_picture()[..., 0] > 99, "PNG")))
case(118, "image", "image.pixel_type")(
    file("p2.tif", lambda: encoded(noise()[..., 0].astype(np.float32), "TIFF"))
)
case(119, "image", "image.animated")(file("p2.tif", lambda: frames("TIFF")))
case(120, "image", "image.animated")(file("p2.gif", lambda: frames("GIF")))
case(121, "image", "image.format")(
    file("p2.heic", lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
)
case(122, "image", "image.format")(file("p2.eps", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n"))
case(124, "image", "image.corrupt")(file("p2.png", with_large_text))


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(plain_picture(), "JPEG", exif=exif)


@case(37, "fix", "image.turned")
def a_size_that_is_right_only_after_the_turn(drop):
    drop.replace_picture("p2.jpg", turned(6))
    drop.image.update(width=HEIGHT_PX, height=WIDTH_PX)
    drop.polygons([2, 2, 40, 2, 40, 60])


@case(112, "fix", "image.turned")
def a_picture_that_lies_on_its_side(drop):
    drop.replace_picture("p2.jpg", turned(6))
    drop.polygons([2, 2, 40, 2, 40, 60])


@case(123, "accept")
def one_pixel_and_a_long_strip(drop):
    drop.replace_picture("p2.png", encoded(np.zeros((50_000, 1, 3), np.uint8), "PNG"))
    (drop.folder / "images/dot.png").write_bytes(encoded(np.zeros((1, 1, 3), np.uint8), "PNG"))
    drop.polygons([0, 10, 1, 10, 1, 90, 0, 90])
    drop.annotation.update(bbox=[0, 10, 1, 80], area=80)


@case(125, "accept")
def one_picture_under_two_names(drop):
    (drop.folder / "images/copy.png").write_bytes(drop.picture.read_bytes())
