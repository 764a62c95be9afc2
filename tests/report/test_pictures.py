"""Pictures of made-up runs: there when there is something to show, the same for the same record."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest

from compressor.report.compare import overview, pareto_png
from compressor.report.pictures import CLASSES, PRECISION_RECALL, SPARSITY, pictures
from compressor.results.run import RunRecord
from tests.report.made_up import full_record, record


def size_of(picture: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.std() > 1  # not blank
    height, width = image.shape[:2]
    return height, width


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (full_record(), [SPARSITY, PRECISION_RECALL, CLASSES]),
        (record(), [SPARSITY, CLASSES]),  # of an earlier version, without a curve
        (replace(record(), baseline=None), [SPARSITY, CLASSES]),
        (replace(record(), baseline=None, compressed=None), [SPARSITY]),
    ],
)
def test_a_run_has_the_pictures_that_it_has_figures_for(run: RunRecord, names: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = dict(pictures(run))
    assert list(made) == names
    assert all(min(size_of(picture)) > 100 for picture in made.values())
    assert dict(pictures(run)) == made


def test_names_with_odd_letters_are_drawn_as_they_are() -> None:
    run = record()
    assert run.compressed is not None
    names = zip(run.compressed.metrics.classes, ("$x^", "猫\n"), strict=True)
    odd = tuple(replace(each, name=name) for each, name in names)
    changed = replace(run.compressed, metrics=replace(run.compressed.metrics, classes=odd))
    assert size_of(dict(pictures(replace(run, compressed=changed)))[CLASSES])


def test_a_pareto_plot_of_runs_that_were_not_evaluated_says_so() -> None:
    unevaluated = overview([("a", replace(record(), baseline=None, compressed=None))])
    assert size_of(pareto_png(unevaluated))
    assert size_of(pareto_png(overview([("a", record()), ("b", full_record())])))
