"""A small detection data set the project draws itself: circles, squares, triangles and stars among clutter.

Everything comes from one numpy RandomState per image and integer, unsmoothed OpenCV drawing, so two machines draw the
same pixels. No shape is left in view without a label: one that would hide too much of an earlier one, or of itself
beyond the border, is not drawn at all.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from compressor.errors import DatasetError, Diagnostic
from compressor.files.cache import cache_folder

Image = NDArray[np.uint8]  # (H, W, 3), BGR
Points = NDArray[np.int32]  # (n, 2), x and y in pixels

NAMES = ("circle", "square", "triangle", "star")
IMAGES = {"train": 480, "val": 160}  # how many of each split
_VERSION = "shapes-v2"  # a new one whenever the pixels change, so that no older drawing is taken from a cache
_FIRST_SEEDS = {"train": 0, "val": 1_000_000}
LEAST_VISIBLE = 0.5  # fraction of a shape's pixels that must stay in view
_DIAMETERS = ((20, 31, 0.25), (34, 90, 0.50), (100, 150, 0.25))  # from, to, share: small, medium and large to COCO
_CORNERS = {"circle": (48, 0), "square": (4, 45), "triangle": (3, -90), "star": (10, -90)}  # and degrees to the first
_STAR_INNER_RADIUS = 0.45
_GRADIENT_STEPS = 24
_LEAST_CONTRAST = 40  # of 255, in the channel where shape and background differ most


@dataclass(frozen=True)
class Scene:
    """One drawn image.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        shapes: (H, W) int32; 0 is background, k is a pixel of object k - 1 that is in view.
        classes: class index per object.
    """

    image: Image
    shapes: NDArray[np.int32]
    classes: tuple[int, ...]

    def boxes(self) -> NDArray[np.float64]:
        """(n, 4) x1, y1, x2, y2 in pixels: tight around the pixels in view; x2 and y2 are exclusive."""
        boxes = np.zeros((len(self.classes), 4))
        for k in range(len(self.classes)):
            x, y, width, height = cv2.boundingRect((self.shapes == k + 1).view(np.uint8))
            boxes[k] = x, y, x + width, y + height
        return boxes


def is_drawn() -> bool:
    """Whether the data set is in the cache folder."""
    return (cache_folder() / "datasets" / _VERSION / "shapes.yaml").exists()


def shapes_dataset() -> Path:
    """The data set's YAML in the cache folder; drawn on first use, in about ten seconds.

    Raises:
        DatasetError: D410 the cache folder cannot be written to.
    """
    folder = cache_folder() / "datasets" / _VERSION
    yaml = folder / "shapes.yaml"
    try:
        return yaml if yaml.exists() else draw_shapes(folder)
    except OSError as error:
        message = f"the data set cannot be drawn here: {error.strerror or error}"
        help_text = "name a folder that can be written to in the environment variable COMPRESSOR_CACHE"
        raise DatasetError(Diagnostic("D410", message, str(folder), help=help_text)) from error


def draw_shapes(folder: Path) -> Path:
    """Draw the whole data set into a new folder and return its `shapes.yaml`.

    Drawn aside and renamed, so a folder that exists is complete; one that another process finished first is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split, count in IMAGES.items():
            _draw_split(aside, split, count)
        names = "\n".join(f"  {index}: {name}" for index, name in enumerate(NAMES))
        (aside / "shapes.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}\n")
        aside.chmod(0o755)  # mkdtemp's folder is the owner's alone
        try:
            aside.rename(folder)
        except OSError:
            if not (folder / "shapes.yaml").exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder / "shapes.yaml"


def _draw_split(folder: Path, split: str, count: int) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    seeds = range(_FIRST_SEEDS[split], _FIRST_SEEDS[split] + count)
    with ThreadPoolExecutor() as pool:
        for index, (encoded, text) in enumerate(pool.map(_encoded_scene, seeds)):
            (images / f"{index:06d}.png").write_bytes(encoded)
            (labels / f"{index:06d}.txt").write_text(text)


def _encoded_scene(seed: int) -> tuple[bytes, str]:
    """A scene as PNG and label text."""
    scene = draw_scene(seed)
    encoded = cv2.imencode(".png", scene.image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
    return encoded.tobytes(), label_text(scene)


def label_text(scene: Scene) -> str:
    """One line per object: class, centre x, centre y, width, height, as fractions of the image."""
    height, width = scene.shapes.shape
    lines = []
    for class_index, (x1, y1, x2, y2) in zip(scene.classes, scene.boxes(), strict=True):
        box = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{class_index} " + " ".join(f"{value:.6f}" for value in box) + "\n")
    return "".join(lines)


def draw_scene(seed: int) -> Scene:
    """One image with up to 8 shapes on a cluttered background, 256 x 192 to 320 x 256 px, one in four upright."""
    random = RandomState(seed)
    width, height = int(random.randint(256, 321)), int(random.randint(192, 257))
    if random.random_sample() < 0.25:
        width, height = height, width
    image = _background(random, width, height)
    for _ in range(random.randint(2, 7)):
        _draw_distractor(random, image)
    shapes = np.zeros((height, width), np.int32)
    classes: list[int] = []
    areas: list[int] = []
    for _ in range(random.randint(2, 9)):
        class_index = int(random.randint(len(NAMES)))
        placed = _place(random, class_index, shapes, areas)
        if placed is not None:
            mask, area = placed
            image[mask] = _fill(random, image, mask)
            classes.append(class_index)
            areas.append(area)
            shapes[mask] = len(classes)
    for _ in range(random.randint(0, 4)):
        _draw_line(random, image)
    return Scene(_with_noise(random, image), shapes, tuple(classes))


def _place(
    random: RandomState, class_index: int, shapes: NDArray[np.int32], areas: list[int]
) -> tuple[NDArray[np.bool_], int] | None:
    """Pixels and whole area of a new shape where nothing gets hidden too much; None when five places did not do."""
    shares = np.cumsum([share for *_, share in _DIAMETERS])
    low, high, _ = _DIAMETERS[int(np.searchsorted(shares, random.random_sample(), side="right"))]
    outline = _outline(random, class_index, radius=float(random.randint(low, high + 1)) / 2)
    height, width = shapes.shape
    x, y, box_width, box_height = cv2.boundingRect(outline)
    inside = _filled(outline - np.array([x, y], np.int32), box_width, box_height)
    area = int(np.count_nonzero(inside))
    in_view = np.bincount(shapes.ravel(), minlength=len(areas) + 1)
    for _ in range(5):
        centre = np.array([random.randint(width), random.randint(height)], np.int32)
        mask = _filled(outline + centre, width, height)
        remaining = in_view - np.bincount(shapes[mask], minlength=len(areas) + 1)
        if np.count_nonzero(mask) >= LEAST_VISIBLE * area and np.all(remaining[1:] >= LEAST_VISIBLE * np.array(areas)):
            return mask, area
    return None


def _outline(random: RandomState, class_index: int, radius: float) -> Points:
    """(n, 2) corner points around (0, 0), turned up to 30 degrees from upright and stretched a little."""
    corners, first = _CORNERS[NAMES[class_index]]
    turn = first + 60 * random.random_sample() - 30
    angle = np.deg2rad(turn + 360 * np.arange(corners) / corners)
    reach = np.full(corners, radius)
    if NAMES[class_index] == "star":
        reach[1::2] *= _STAR_INNER_RADIUS
    stretch = 0.85 + 0.3 * random.random_sample()
    points = np.stack((reach * np.cos(angle) * stretch, reach * np.sin(angle) / stretch), axis=1)
    return np.rint(points).astype(np.int32)


def _filled(points: Points, width: int, height: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points], 1)
    return mask.view(np.bool_)


def _fill(random: RandomState, image: Image, mask: NDArray[np.bool_]) -> Image:
    """(pixels, 3) colours for the mask's pixels: one colour that stands out a little, three in ten with stripes."""
    behind = image[mask].mean(axis=0)
    colour = random.randint(0, 256, 3)
    while np.abs(colour - behind).max() < _LEAST_CONTRAST:
        colour = random.randint(0, 256, 3)
    colours = np.repeat(colour[None], int(mask.sum()), axis=0)
    if random.random_sample() < 0.3:
        rows, columns = np.nonzero(mask)
        period = random.randint(3, 9)
        striped = (rows * random.randint(0, 2) + columns) // period % 2 == 0
        colours[striped] = np.clip(colours[striped] + random.randint(-60, 61), 0, 255)
    return colours.astype(np.uint8)


def _background(random: RandomState, width: int, height: int) -> Image:
    """A gradient between two colours, in steps, with blotches on half of the images."""
    start, end = random.randint(0, 256, 3), random.randint(0, 256, 3)
    slope_x, slope_y = random.random_sample(2)
    slope = slope_x * np.arange(width) / width + slope_y * np.arange(height)[:, None] / height
    steps = (slope / (slope_x + slope_y) * _GRADIENT_STEPS).astype(np.int64)
    palette = (start + (end - start) * np.arange(_GRADIENT_STEPS)[:, None] / _GRADIENT_STEPS).astype(np.int16)
    image = palette[steps]
    if random.random_sample() < 0.5:
        cell = int(random.randint(8, 33))
        blotches = random.randint(-24, 25, (height // cell + 1, width // cell + 1, 1)).astype(np.int16)
        image += blotches.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
    drawn: Image = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def _draw_distractor(random: RandomState, image: Image) -> None:
    """A cross, an outlined ellipse or a line: things that are no class."""
    height, width = image.shape[:2]
    centre = (int(random.randint(width)), int(random.randint(height)))
    colour = _colour(random)
    kind = random.randint(3)
    if kind == 0:
        marker = (cv2.MARKER_CROSS, cv2.MARKER_TILTED_CROSS)[random.randint(2)]
        size = int(random.randint(12, 80))
        cv2.drawMarker(image, centre, colour, marker, size, thickness=max(2, size // int(random.randint(3, 7))))
    elif kind == 1:
        axes = (int(random.randint(6, 60)), int(random.randint(6, 60)))
        cv2.ellipse(image, centre, axes, int(random.randint(180)), 0, 360, colour, int(random.randint(1, 5)))
    else:
        _draw_line(random, image)


def _draw_line(random: RandomState, image: Image) -> None:
    height, width = image.shape[:2]
    start, end = ((int(random.randint(width)), int(random.randint(height))) for _ in range(2))
    cv2.line(image, start, end, _colour(random), int(random.randint(1, 4)))


def _colour(random: RandomState) -> tuple[int, ...]:
    return tuple(int(value) for value in random.randint(0, 256, 3))


def _with_noise(random: RandomState, image: Image) -> Image:
    """Brightness noise in squares of 2 px, from none to visible."""
    height, width = image.shape[:2]
    strength = int(random.randint(0, 21))
    noise = (random.randint(-strength, strength + 1, (height // 2 + 1, width // 2 + 1, 1)) // 4 * 4).astype(np.int16)
    grain = noise.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    noisy: Image = np.clip(image + grain, 0, 255).astype(np.uint8)
    return noisy
