"""How often the 95 % interval of a change of AP holds the truth, by the number of images with objects.

    python benchmarks/interval_coverage.py [--trials 400] [--json FILE]

A made-up world: images hold objects of some classes, two models find each with a probability of its own, with scores
and overlaps that depend on how hard the object is to both, and with false detections between. The truth is the
difference of AP over 20,000 images of it. From the same world few images are drawn, many times; each time the paired
bootstrap gives its interval, as a run does, and it is counted how often the interval holds the truth, how often it lies
wholly on the other side of 0 than the truth, and how often it has no width.

`LEAST_IMAGES` in `compressor/report/intervals.py` is no less than the least number of those tried from which on, in
every world, 85 % or more of the intervals hold the truth; the script exits 1 where that is no longer so.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from compressor.evaluation.bootstrap import average_precisions, resampled_weights
from compressor.evaluation.coco_figures import IOU_THRESHOLDS, ClassMatches
from compressor.report.intervals import LEAST_IMAGES, quantile

IMAGES_TRIED = (1, 2, 3, 5, 10, 15, 20, 30, 50)
POPULATION = 20_000
RESAMPLES = 400
LEAST_COVERAGE = 0.85


@dataclass(frozen=True)
class World:
    """What images hold, and how well two models find it.

    Attributes:
        name: for the table.
        classes: how many; the k-th is 1 / k as frequent as the first.
        objects: mean per image, each image at least 1.
        found: share of the objects that the model before finds.
        lost: share of those that the model after loses, the hard ones first.
        false: mean false detections per image.
    """

    name: str
    classes: int
    objects: float
    found: float
    lost: float
    false: float


WORLDS = (
    World("one class, few objects, a small loss", 1, 1.5, 0.8, 0.05, 1.0),
    World("one class, many objects, a loss", 1, 12.0, 0.7, 0.2, 6.0),
    World("4 classes, as shapes.yaml, a small loss", 4, 5.0, 0.95, 0.05, 2.0),
    World("20 classes, a loss", 20, 3.0, 0.7, 0.15, 3.0),
    World("80 classes, as COCO, a large loss", 80, 7.0, 0.6, 0.35, 8.0),
)


@dataclass(frozen=True)
class Coverage:
    """What became of the intervals of one world and one number of images."""

    world: str
    images: int
    holds_truth: float
    wrong_side: float
    no_width: float
    truth: float


@dataclass(frozen=True)
class Detections:
    """Of one model: per detection the image, the class, the score and the overlap (0: false)."""

    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    overlaps: np.ndarray


def world_of(world: World, images: int, random: RandomState) -> tuple[np.ndarray, np.ndarray, list[Detections]]:
    """Images of the objects, their classes, and what the two models detect."""
    counts = 1 + random.poisson(max(world.objects - 1, 0.0), images)
    owner = np.arange(images).repeat(counts)
    shares = 1 / np.arange(1, world.classes + 1)
    classes = random.choice(world.classes, len(owner), p=shares / shares.sum())
    of_image = random.normal(0, 0.7, images)  # some images are hard altogether
    hard = of_image[owner] + random.normal(0, 1, len(owner))
    limits = np.quantile(hard, (world.found * (1 - world.lost), world.found))
    models = []
    for limit, shift in ((limits[1], 0.0), (limits[0], 0.15 * world.lost)):
        found = hard + random.normal(0, 0.4, len(hard)) < limit
        ease = 1 / (1 + np.exp(hard[found] + shift + random.normal(0, 0.5, found.sum())))
        overlap = (0.55 + 0.45 * ease + random.normal(0, 0.06, found.sum())).clip(0.3, 0.99)
        false = random.poisson(world.false, images)
        count = false.sum()
        models.append(
            Detections(
                images=np.concatenate((owner[found], np.arange(images).repeat(false))),
                classes=np.concatenate((classes[found], random.choice(world.classes, count, p=shares / shares.sum()))),
                scores=np.concatenate((ease, 0.7 * random.beta(1, 6, count))),
                overlaps=np.concatenate((overlap, np.zeros(count))),
            )
        )
    return owner, classes, models


def matches(owner: np.ndarray, classes: np.ndarray, found: Detections, images: int) -> tuple[ClassMatches, ...]:
    """What COCO's matching would make of the detections, best score first."""
    made = []
    for category in np.unique(classes):
        mine = np.flatnonzero(found.classes == category)
        mine = mine[np.argsort(-found.scores[mine], kind="stable")]
        true = found.overlaps[mine][None] >= IOU_THRESHOLDS[:, None]
        objects = np.bincount(owner[classes == category], minlength=images).astype(np.float64)
        made.append(ClassMatches(found.images[mine], true, ~true, objects))
    return tuple(made)


def ap_of(owner: np.ndarray, classes: np.ndarray, model: Detections, weights: np.ndarray) -> np.ndarray:
    """AP for each weighting of the images."""
    return np.asarray(average_precisions(matches(owner, classes, model, weights.shape[1]), weights).mean(axis=1))


def measure(world: World, trials: int) -> list[Coverage]:
    """Coverage by number of images."""
    owner, classes, models = world_of(world, POPULATION, RandomState(0))
    once = np.ones((1, POPULATION))
    before, after = (float(ap_of(owner, classes, model, once)[0]) for model in models)
    truth = after - before
    rows = []
    for images in IMAGES_TRIED:
        random = RandomState(images)
        weights = resampled_weights(images, RESAMPLES, 0)
        held = wrong = flat = 0
        for _ in range(trials):
            sample = world_of(world, images, random)
            old, new = (ap_of(sample[0], sample[1], model, weights) for model in sample[2])
            changes = np.sort((new - old)[~np.isnan(new - old)]).tolist()
            low, high = quantile(changes, 0.025), quantile(changes, 0.975)
            held += low <= truth <= high
            wrong += low * truth < 0 and high * truth < 0
            flat += high - low < 5e-4
        rows.append(Coverage(world.name, images, held / trials, wrong / trials, flat / trials, truth))
    return rows


def main() -> None:
    """Print a table of every world, and exit 1 where `LEAST_IMAGES` is not what the coverage gives."""
    parser = argparse.ArgumentParser(description="How often the interval of a change of AP holds the truth.")
    parser.add_argument("--trials", type=int, default=250)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for world in WORLDS for row in measure(world, options.trials)]
    print("| world | change of AP | images | holds the truth | on the wrong side of 0 | no width |")
    print("|:--|--:|--:|--:|--:|--:|")
    for row in rows:
        shares = " | ".join(f"{100 * each:.1f} %" for each in (row.holds_truth, row.wrong_side, row.no_width))
        print(f"| {row.world} | {row.truth:+.3f} | {row.images} | {shares} |")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    failing = max((row.images for row in rows if row.holds_truth < LEAST_COVERAGE), default=0)
    least = next((images for images in IMAGES_TRIED if images > failing), None)
    share = f"{100 * LEAST_COVERAGE:.0f} %"
    print(f"\nfrom {least} images on it is {share} or more everywhere; LEAST_IMAGES is {LEAST_IMAGES}")
    sys.exit(least is None or least > LEAST_IMAGES)


if __name__ == "__main__":
    main()
