"""The hot loops of the mask codec, compiled by numba.

Each kernel gives exactly what its numpy counterpart gives, or an empty array where it leaves the
work to it: on input that is damaged or so unusual that it could take a kernel for ever. Importing
this package imports numba, which takes a second and 125 MB; see `vision.masks.choice`.
"""

from vision.masks.kernels.counts import compress, decompress
from vision.masks.kernels.rings import fill_rings
from vision.masks.kernels.row_stream import compress_rows

__all__ = ["compress", "compress_rows", "decompress", "fill_rings"]
