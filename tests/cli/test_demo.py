"""The embedded default, as `make demo` runs it."""

import json
from pathlib import Path

import pytest

from trials.commands import compressor

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.yaml"


def test_demo_shows_a_trade_off_on_images_the_model_was_not_trained_on(tmp_path: Path) -> None:
    done = compressor("apply", RECIPE, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "reports" / "demo" / "run.json").read_text())
    before, after = (run[side]["metrics"]["coco"]["AP"] for side in ("baseline", "compressed"))
    assert before >= 0.6
    assert 0.3 < after < before - 0.02
    assert run["baseline"]["data"]["split"] == "val"
    sizes = run["sizes"]
    assert sizes["artifact"]["size_bytes"] < 0.8 * sizes["dense"]["size_bytes"]
    assert run["sparsity"]["conv_weights"] == pytest.approx(run["recipe"]["modifiers"][0]["sparsity"], abs=1e-4)
    report = (tmp_path / "reports" / "demo" / "report.md").read_text()
    assert f"AP goes from {before:.3f} to {after:.3f}" in report
