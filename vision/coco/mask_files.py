"""Masks that an annotation keeps in a PNG of their own, as `segmentation_file`."""

import reprlib
import struct
from collections.abc import Callable

from vision.coco.file_names import broken_path_rule
from vision.coco.json_text import DocumentError
from vision.coco.records import CocoImage
from vision.masks import MaskPngError, png_to_mask
from vision.masks.rle import mask_to_runs
from vision.masks.runs import Runs

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Largest mask file that is read."""

ReadFile = Callable[[str], bytes]
"""Gives the bytes of a file of the drop by its name in a document, or raises MaskFileError."""

_HEADER_BYTES = 24  # signature, length, "IHDR", width, height


class MaskFileError(ValueError):
    """A mask file that cannot be used.

    Attributes:
        rule: The broken rule, such as `mask_file.missing`.
        value: The offending part of the input.
    """

    def __init__(self, rule: str, value: object) -> None:
        self.rule = rule
        self.value = value
        super().__init__(f"{rule}: {reprlib.repr(value)}")


class MaskFiles:
    """The mask files that a document may name."""

    def __init__(self, read: ReadFile | None, local: bool = True) -> None:
        """Say where they come from.

        Args:
            read: Gives their bytes; None if there are no files beside the document.
            local: Whether they lie in a file system; see `broken_path_rule`.
        """
        self._read = read
        self._local = local

    def read(self, name: object, image: CocoImage, pointer: str) -> bytes:
        """The bytes of a PNG that has the size of an image.

        Args:
            name: The file, as the document names it.
            image: The image it belongs to.
            pointer: JSON pointer to the name.

        Raises:
            DocumentError: The name could lead out of the drop.
            MaskFileError: There is no such file, or it is no PNG of this size.
        """
        if not isinstance(name, str):
            raise MaskFileError("mask_file.name", name)
        if rule := broken_path_rule(name, self._local):
            raise DocumentError(rule, name, pointer)
        if self._read is None:
            raise MaskFileError("mask_file.missing", name)
        data = self._read(name)
        # Looked at before anything is decoded: a small file can claim any size.
        if len(data) < _HEADER_BYTES or data[12:16] != b"IHDR":
            raise MaskFileError("mask_png.corrupt", data[:8])
        size: tuple[int, int] = struct.unpack(">II", data[16:_HEADER_BYTES])
        if size != (image.width, image.height):
            stated = [image.width, image.height]
            raise MaskFileError("mask_file.size_differs", f"{list(size)}, the image has {stated}")
        return data

    def read_mask(self, name: object, image: CocoImage, pointer: str) -> Runs:
        """Canonical run lengths of a mask of at least one foreground pixel.

        Every pixel of the PNG that is not 0 is foreground.

        Raises:
            DocumentError: The name could lead out of the drop.
            MaskFileError: There is no such file, or it is no gray PNG of this size with foreground.
        """
        data = self.read(name, image, pointer)
        try:
            mask = png_to_mask(data)
        except MaskPngError as error:
            raise MaskFileError(error.rule, error.value) from None
        if not mask.any():
            raise MaskFileError("mask_file.empty_mask", "0 pixels")
        return mask_to_runs(mask)
