"""Images without labels, by which a repair sees what a network's layers are given."""

from __future__ import annotations

import filecmp
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from compressor.data.dataset import load_dataset, split_images
from compressor.data.image_file import MOST_BYTES, changed, decode
from compressor.data.letterbox import letterbox, resize_to_fit
from compressor.data.sources import find_images, is_there, shown
from compressor.errors import DatasetError, Diagnostic
from compressor.files.reading import file_bytes


def find_calibration_images(source: str, split: str, notify: Callable[[str], None] | None = None) -> list[Path]:
    """The images a repair may draw from, sorted by path.

    Args:
        source: a folder of images, or whatever `load_dataset` takes.
        split: of the data set.
        notify: receives a sentence on which images are taken, where the data set could mean several, and on images that
            are listed and not there.

    Raises:
        DatasetError: D402, D403 as `read_split`; D404 there is no image.
    """
    folder, missing = Path(source), list[Path]()
    if folder.is_dir():
        files = find_images((folder,))[0]
    else:
        dataset = load_dataset(source)
        files, missing = split_images(dataset, split)
        if notify is not None and split in dataset.choices:
            notify(dataset.choices[split])
    if missing and notify is not None:
        count = f"{len(missing)} of the {len(files) + len(missing)} images to calibrate with"
        notify(f"{count} are listed and not there, such as {shown(missing[0])}: they are left out")
    if not files:
        help_text = "name a folder of images, or a data set with a split of them"
        raise DatasetError(Diagnostic("D404", "there is no image to calibrate with", source, help=help_text))
    return files


def draw(files: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Some of the files, the same for the same seed on every machine; all where there are fewer."""
    order = np.random.RandomState(seed).permutation(len(files))
    return [files[i] for i in order[:count]]


def same_images(files: Sequence[Path], evaluated: Iterable[Path]) -> list[Path]:
    """Files that are also among the evaluated ones, whatever their names: compared by place, or by bytes."""
    others = [path for path in evaluated if is_there(path)]
    places = {path.resolve() for path in others}
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in others:
        by_size[path.stat().st_size].append(path)

    def is_evaluated(file: Path) -> bool:
        if file.resolve() in places:
            return True
        alike = by_size.get(file.stat().st_size, []) if is_there(file) else []
        return bool(alike) and any(filecmp.cmp(file, path, shallow=False) for path in alike)

    return [file for file in files if is_evaluated(file)]


def load_images(files: Sequence[Path], image_size: int, known: dict[Path, str] | None = None) -> Tensor:
    """Images scaled to fit and centred on a grey square, as the network sees them.

    Args:
        files: their paths.
        image_size: pixels; a multiple of the network's stride.
        known: SHA-256 of the files that were read before; those of the others are added.

    Returns:
        (N, 3, image_size, image_size) float32 in [0, 1], RGB.

    Raises:
        DatasetError: D405 an image cannot be read; D430 it is not the one that was read before.
    """
    images = np.empty((len(files), 3, image_size, image_size), np.uint8)
    for out, file in zip(images, files, strict=True):
        try:
            content = file_bytes(file, MOST_BYTES)
        except OSError as error:
            message = f"cannot read this image: {error.strerror or error}"
            raise DatasetError(Diagnostic("D405", message, str(file), help="replace or delete it")) from error
        digest = hashlib.sha256(content).hexdigest()
        if known is not None and known.setdefault(file, digest) != digest:
            raise changed(file, "image")
        image = decode(content)
        if image is None:
            message = "this image cannot be decoded"
            raise DatasetError(Diagnostic("D405", message, str(file), help="replace or delete it"))
        square, _ = letterbox(resize_to_fit(image, image_size, "ceil"), (image_size, image_size))
        out[...] = square[:, :, ::-1].transpose(2, 0, 1)
    return torch.from_numpy(images).float() / 255


def random_crops(images: Tensor, size: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of square crops, mirrored half of the time; the same for the same state of the generator.

    Args:
        images: (N, 3, H, W).
        size: pixels; the whole image where that is smaller.
        count: crops at a time, as even a share of each image as can be.
        generator: of the CPU; decides which.
    """
    images_known, _, height, width = images.shape
    size = min(size, height, width)
    while True:
        rounds = math.ceil(count / images_known)
        order = torch.cat([torch.randperm(images_known, generator=generator) for _ in range(rounds)])
        crops = []
        for i in order[:count].tolist():
            top = int(torch.randint(height - size + 1, (1,), generator=generator))
            left = int(torch.randint(width - size + 1, (1,), generator=generator))
            crop = images[i, :, top : top + size, left : left + size]
            crops.append(crop.flip(2) if torch.rand(1, generator=generator) < 0.5 else crop)
        yield torch.stack(crops)
