"""Long files of tests first: each is one worker's work, and a long one at the end would leave the others idle."""

from __future__ import annotations

import pytest

LONGEST = (  # by CPU seconds, from 80 down to 25
    "tests/cli/test_apply_exports.py",
    "tests/cli/test_terminal.py",
    "tests/cli/test_surroundings.py",
    "tests/export/test_upstream_graphs.py",
    "tests/cli/test_sensitivity.py",
    "tests/run/test_search.py",
    "tests/run/test_forecast.py",
    "tests/tasks/test_sensitivity.py",
    "tests/tasks/test_init.py",
    "tests/cli/test_benchmark.py",
    "tests/recipe/test_faults.py",
    "tests/export/test_graphs.py",
    "tests/export/test_real_checkpoints.py",
    "tests/cli/test_plan.py",
    "tests/cli/test_verify.py",
    "tests/models/yolov5/test_hostile_corpus.py",
    "tests/cli/test_reports.py",
    "tests/test_kills.py",
    "tests/evaluation/test_reference_figures.py",
    "tests/export/test_other_networks.py",
    "tests/cli/test_weights.py",
    "tests/test_inputs.py",
    "tests/models/yolov5/test_build.py",
    "tests/models/yolov5/test_checkpoint.py",
    "tests/modifiers/repair/test_repair.py",
    "tests/recipe/test_property.py",
)
_PLACES = {file: place for place, file in enumerate(LONGEST)}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order of `LONGEST`, then all others as they were collected; the tests of a file stay together."""
    items.sort(key=lambda item: _PLACES.get(item.nodeid.split("::")[0], len(LONGEST)))
