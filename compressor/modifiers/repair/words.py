"""A repair in one line, and its name in the account of where the time went."""

from __future__ import annotations

from compressor.recipe.modifiers import Repair


def described(modifier: Repair, layers: int, images: int) -> str:
    """One line for the terminal and the report."""
    return f"repair {layers} layers by {_words(modifier)} on {images} unlabelled images"


def title(modifier: Repair) -> str:
    """Of the step, in the account of where the time went."""
    return f"repair: {_words(modifier)}"


def _words(modifier: Repair) -> str:
    match modifier.method:
        case "obs":
            return "obs, which chooses the zeros anew"
        case "batchnorm":
            return "BatchNorm statistics"
        case "distill":
            return f"{modifier.steps} steps of distillation"
        case _:
            return modifier.method.replace("_", " ")


def unit(modifier: Repair) -> str:
    """What its progress counts."""
    match modifier.method:
        case "distill":
            return "steps"
        case "batchnorm":
            return "images"
        case _:
            return "layers"
