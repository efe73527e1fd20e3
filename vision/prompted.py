"""What cuts out what it is pointed at: the protocol of promptable models."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PromptedMasks = tuple[npt.NDArray[np.bool_], Floats, Floats]
"""For n prompts with c masks each: masks (n, c, height, width) at the size of the image; the IoU
that the model expects of each, (n, c); and logits (n, c, side, side), as `mask_logits` has them."""


class PromptedModel(Protocol):
    """Cuts out an object for each prompt: clicks, a box, the logits of an earlier mask, or several.

    Prompts are as `sam2.sam2_image_predictor.SAM2ImagePredictor` takes them, but n at once.
    """

    @property
    def mask_side(self) -> int:
        """Side of the square of logits that may be a prompt."""
        ...

    def set_image(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Take the image that the next prompts are about.

        Args:
            rgb: Shape (height, width, 3), RGB, 0 to 255.
        """
        ...

    def predict(
        self,
        points_xy: npt.NDArray[np.floating] | None = None,
        point_labels: npt.NDArray[np.integer] | None = None,
        box_xyxy: npt.NDArray[np.floating] | None = None,
        mask_logits: Floats | None = None,
        multimask: bool = False,
    ) -> PromptedMasks:
        """Return the masks of n prompts, each on its own.

        Args:
            points_xy: Clicks of each prompt, shape (n, clicks, 2), in pixels of the image; the
                middle of the top left pixel is (0, 0).
            point_labels: 1 for clicks on the object, 0 for clicks beside it, -1 for none; shape
                (n, clicks).
            box_xyxy: A box around each object (left, top, right, bottom), shape (n, 4), in pixels.
            mask_logits: Logits of an earlier mask of each prompt, shape (n, side, side).
            multimask: Give three masks, such as whole, part and subpart; for prompts that may mean
                several things, as a single click does. Otherwise one.

        Raises:
            RuntimeError: There is no image yet.
            ValueError: There is no prompt, or shapes do not fit.
        """
        ...
