"""The picture of a sensitivity table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.report.sensitivity_plot import is_sensitivity_plot, measured, sensitivity_png
from compressor.results.sensitivity import LayerLosses, SensitivityTable


def table(layers: int = 6, losses: tuple[float, ...] = (0.01, 0.1)) -> SensitivityTable:
    points = tuple((0.5 + 0.1 * i, loss) for i, loss in enumerate(losses))
    role = ("stem", *["backbone"] * (layers // 2), *["neck"] * layers)
    entries = tuple(LayerLosses(f"model.{i}.conv", role[i], 100, points) for i in range(layers))
    return SensitivityTable(
        "w/$best$.pt", "0" * 64, "before", "magnitude", "output", False, "größe 🚢 $x", 4, 320, "train", entries
    )


def pixels(png: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture.astype(np.uint8)


def test_is_a_picture_that_grows_with_the_layers() -> None:
    few, many = pixels(sensitivity_png(table(6))), pixels(sensitivity_png(table(60)))
    assert many.shape[0] - few.shape[0] >= 54 * 15  # pixels enough for a name
    assert many.shape[1] == few.shape[1]


def test_shows_the_losses() -> None:
    one = sensitivity_png(table())
    assert one == sensitivity_png(table())
    assert not np.array_equal(pixels(one), pixels(sensitivity_png(table(losses=(0.01, 0.05)))))


@pytest.mark.parametrize("losses", [(0.0,), (-0.5, 0.25), (1e-12, 1e3), tuple(0.01 * i for i in range(-2, 8))])
def test_any_losses_can_be_shown(losses: tuple[float, ...]) -> None:
    entry = LayerLosses("model.0.conv", "stem", 1, tuple((0.09 * (i + 1), loss) for i, loss in enumerate(losses)))
    assert pixels(sensitivity_png(replace(table(), layers=(entry,)))).shape[2] == 3


def test_layers_may_have_other_sparsities_each() -> None:
    first, *others = table().layers
    mixed = replace(table(), layers=(replace(first, points=((0.3, 0.2),)), *others))
    assert not np.array_equal(pixels(sensitivity_png(mixed)), pixels(sensitivity_png(table())))


def test_is_known_again(tmp_path: Path) -> None:
    ours, other, missing = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    ours.write_bytes(sensitivity_png(table()))
    cv2.imwrite(str(other), np.zeros((8, 8, 3), np.uint8))
    assert [is_sensitivity_plot(path) for path in (ours, other, missing, tmp_path)] == [True, False, False, False]


def test_says_what_was_measured() -> None:
    assert measured(table()) == (
        "Change of the outputs where one layer alone is pruned: 4 images, score magnitude, fuse before"
    )
    assert measured(replace(table(), by="ap", images=1, score="raw_magnitude", fuse="never")) == (
        "AP lost where one layer alone is pruned: 1 image, score raw_magnitude, fuse never"
    )
