"""What modifiers say when the memory is too small for their calibration images."""

from __future__ import annotations

from contextlib import AbstractContextManager

from compressor.evaluation.out_of_memory import enough_memory


def enough_for_images() -> AbstractContextManager[None]:
    """What runs a network on calibration images: E812 says how to do with less memory."""
    message = "there is too little memory for the calibration images"
    help_text = "give fewer or smaller ones (calibration.images, calibration.image_size, crops, crop)"
    return enough_memory(message, help_text)
