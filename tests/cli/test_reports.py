"""`report`, `diff`, `compare` and gates, from end to end on tiny runs."""

import json
import shutil
from pathlib import Path

import pytest

from compressor.results.run import load_run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights

GATES = "report:\n  fail_if: [AP > 50, kept.AP < 200, size < 99]\n  examples: 2\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them with gates of which two fail."""
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    half = tiny_recipe(folder, "half", allocation="uniform")
    assert compressor("apply", half.name, cwd=folder).returncode == 0
    gated = tiny_recipe(folder, "gated", allocation="global")
    gated.write_text(gated.read_text() + GATES)
    done = compressor("apply", gated.name, cwd=folder)
    (folder / "gated.err").write_text(f"{done.returncode}\n{done.stderr}")
    return folder


def test_a_gate_that_fails_ends_with_1_and_everything_is_written(place: Path) -> None:
    code, _, told = (place / "gated.err").read_text().partition("\n")
    assert code == "1"
    assert "gate failed: kept.AP < 200: " in told
    assert "gate failed: size < 99: the size is " in told
    assert "AP > 50" not in told
    assert told.endswith(
        "reports/gated: U921 gates failed: 2 of 3\n"
        "  help: compress less, repair more, or change the recipe's report.fail_if; the run is kept\n"
    )
    run = load_run(place / "reports" / "gated")
    assert [verdict.failed for verdict in run.gates] == [False, True, True]
    report = (place / "reports" / "gated" / "report.md").read_text()
    assert "- passed: AP > 50: AP changed by " in report
    assert report.count("- FAILED: ") == 2
    assert compressor("verify", "reports/gated", cwd=place).returncode == 0


def test_gates_without_figures_are_refused(place: Path) -> None:
    refused = compressor("apply", "gated.yaml", "--no-evaluate", "--output", "no", cwd=place)
    assert (refused.returncode, "gated.yaml:15:13: R121" in refused.stderr) == (2, True)
    assert refused.stderr.count("R121") == 2  # the size can be told without
    allowed = ("apply", "gated.yaml", "--no-evaluate", "--output", "no", "--set", "report.fail_if=[size > 99]")
    assert compressor(*allowed, cwd=place).returncode == 0


def test_diff_of_equal_runs_is_empty_and_of_others_is_not(place: Path) -> None:
    shutil.copytree(place / "reports" / "half", place / "copy", dirs_exist_ok=True)
    for twin in ("copy/run.json", "copy"):
        same = compressor("diff", "reports/half", twin, cwd=place)
        assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    same = compressor("diff", "reports/half/model.safetensors", "copy/model.safetensors", "--html", cwd=place)
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    other = compressor("diff", "reports/half", "reports/gated", cwd=place)
    assert other.returncode == 0
    for word in ("modifiers.0.allocation", "uniform", "global", "model.8.cv3.conv", "masks agree"):
        assert word in other.stdout
    assert "## Recipe" in compressor("diff", "reports/half", "reports/gated", "--md", cwd=place).stdout
    page = compressor("diff", "reports/half", "reports/gated", "--html", cwd=place).stdout
    assert page.startswith("<!doctype html>")
    assert "<h2>Layers</h2>" in page
    document = json.loads(compressor("diff", "reports/half", "reports/gated", "--json", cwd=place).stdout)
    assert (document["schema"], document["equal"]) == ("compressor/diff/2", False)
    assert {entry["name"] for entry in document["recipe"]} == {
        "modifiers.0.allocation",
        "report.fail_if",
        "report.examples",
    }
    (first, *_) = document["layers"]
    assert 0 < first["agreement"][0] < 1
    own = compressor("diff", "reports/half", "reports/half/model.safetensors", "--fail-if", "size > 101", cwd=place)
    assert (own.returncode, own.stdout) == (0, "")  # what an artifact alone cannot know is no difference
    only = compressor("diff", "reports/half", "reports/gated", "--only", "sizes", cwd=place).stdout
    assert only.startswith("Sizes\n")
    assert "Layers" not in only
    speed = compressor("diff", "reports/half", "reports/gated", "--only", "speed", cwd=place)
    assert speed.stdout.startswith("Speed\n")
    unknown = compressor("diff", "reports/half", "reports/half/model.safetensors", "--only", "metrics", cwd=place)
    assert (unknown.returncode, "an artifact alone does not tell it" in unknown.stderr) == (2, True)
    artifacts = ("reports/half/model.safetensors", "reports/gated/model.safetensors", "copy/model.safetensors")
    three = compressor("diff", *artifacts, cwd=place)
    assert three.returncode == 0
    assert "copy/model.safetensors: masks agree" in three.stdout


def test_diff_fails_by_gates(place: Path) -> None:
    runs = ("diff", "reports/half", "reports/gated")
    assert compressor(*runs, "--fail-if", "AP < -99", "--only", "metrics", cwd=place).returncode == 0
    failed = compressor(*runs, "--fail-if", "AP > -99", "--fail-if", "APl < 100", "--json", cwd=place)
    assert failed.returncode == 1
    assert [gate["failed"] for gate in json.loads(failed.stdout)["gates"]] == [True, True]
    assert compressor(*runs, "--fail-if", "size > 120", cwd=place).returncode == 0
    equal = compressor("diff", "reports/half", "reports/half/run.json", "--fail-if", "kept.AP < 100.5", cwd=place)
    assert (equal.returncode, equal.stdout) == (1, "")
    assert "gate failed: kept.AP < 100.5: 100.00 % of AP is kept" in equal.stderr
    mend = "compress less, repair more, or change --fail-if"
    assert f"run.json: U921 gates failed: 1 of 1\n  help: {mend}\n" in equal.stderr
    wrong = compressor(*runs, "--fail-if", "APP < 3", cwd=place)
    assert (wrong.returncode, "did you mean 'AP'?" in wrong.stderr) == (2, True)


def test_a_gate_on_figures_that_were_measured_otherwise_fails(place: Path) -> None:
    (place / "other").mkdir(exist_ok=True)
    document = json.loads((place / "reports" / "half" / "run.json").read_text())
    document["compressed"]["settings"]["conf_thres"] = 0.25
    (place / "other" / "run.json").write_text(json.dumps(document))
    gates = ("--fail-if", "AP < -99", "--fail-if", "after.AP > 101", "--fail-if", "size > 101")
    failed = compressor("diff", "reports/half", "other", *gates, "--only", "metrics", cwd=place)
    assert failed.returncode == 1
    why = "the two were not measured alike: conf_thres 0.001 against 0.25"
    assert f"gate failed: AP < -99: undecided, because {why}\n" in failed.stderr
    assert "other: U921 gates failed: 1 of 3\n" in failed.stderr
    assert failed.stdout.startswith("Not measured alike, so figures cannot be compared\n")
    told = json.loads(compressor("diff", "reports/half", "other", "--json", cwd=place).stdout)
    assert told["not_alike"] == [{"name": "conf_thres", "values": ["0.001", "0.25"]}]
    assert told["equal"] is False
    table = compressor("compare", "reports/half", "other", cwd=place)
    assert "measured as" in table.stdout
    assert "Not the same: conf_thres (A: 0.001, B: 0.25)." in table.stdout
    rows = json.loads(compressor("compare", "reports/half", "other", "--json", cwd=place).stdout)["runs"]
    assert {row["measured_as"] for row in rows} == {"A", "B"}


def test_report_is_rendered_again_without_computing_anything(place: Path) -> None:
    run = place / "reports" / "half"
    again = compressor("report", "reports/half", cwd=place)
    assert (again.returncode, again.stdout) == (0, (run / "report.md").read_text())
    done = compressor("report", "reports/half", "--format", "html", "--output", "page.html", cwd=place)
    assert done.returncode == 0
    page = (place / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    (place / "thesis.html").write_text("<h1>mine</h1>")
    (place / "README.md").write_text("# mine")
    for foreign in ("thesis.html", "tiny.yaml", "README.md"):
        kept = compressor("report", "reports/half", "--format", "html", "--output", foreign, "--force", cwd=place)
        assert (kept.returncode, "O603" in kept.stderr) == (2, True)
    refused = compressor("report", "reports/half", "--output", "page.html", cwd=place)
    assert (refused.returncode, "O601" in refused.stderr) == (2, True)
    (place / "mine.j2").write_text("# {{ run.name }}\n{{ tables.coco }}\n")
    mine = compressor("report", "reports/half/run.json", "--template", "mine.j2", cwd=place).stdout
    assert mine.startswith("# half\n|       | metric")
    (place / "wrong.j2").write_text("{{ run.nmae }}")
    wrong = compressor("report", "reports/half", "--template", "wrong.j2", cwd=place)
    assert (wrong.returncode, "wrong.j2: U915" in wrong.stderr) == (2, True)


def test_a_recipes_own_template_is_kept_and_one_that_fails_costs_nothing(place: Path) -> None:
    folder = place / "recipes"
    folder.mkdir(exist_ok=True)
    recipe = (place / "half.yaml").read_text() + "report: {template: own.j2, examples: 0}\n"
    (folder / "own.yaml").write_text(recipe)
    (folder / "own.j2").write_text("{{ run.name }} keeps {{ tables.detection }}\n")
    command = ("apply", "recipes/own.yaml", "--output", "own", "--force")
    done = compressor(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "own" / "report.md").read_text().startswith("own keeps |")
    assert not (place / "own" / "examples.png").exists()
    assert compressor("verify", "own", cwd=place).returncode == 0
    (folder / "other.j2").write_text("{{ run.nmae }}")
    failed = compressor(*command, "--template", "recipes/other.j2", cwd=place)
    assert failed.returncode == 0
    report = (place / "own" / "report.md").read_text()
    assert "the template cannot be rendered" in report
    assert "COCO metrics on 6 images" in report
    assert compressor("verify", "own", cwd=place).returncode == 0
    (folder / "own.j2").write_text("{% if %}")
    refused = compressor(*command, cwd=place)
    assert (refused.returncode, "own.j2: U915 the template cannot be rendered: line 1" in refused.stderr) == (2, True)


def test_a_reference_stands_beside_the_model(place: Path) -> None:
    as_the_recipe = ("--image-size", "64", "--batch-size", "4")
    arguments = ("evaluate", "tiny.safetensors", "--data", "tiny.yaml", *as_the_recipe, "--json")
    (place / "small.json").write_text(compressor(*arguments, cwd=place).stdout)
    command = ("apply", "half.yaml", "--output", "beside", "--set", "report.reference=small.json", "--force")
    done = compressor(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "Compared with a smaller model" in (place / "beside" / "report.md").read_text()
    document = json.loads((place / "small.json").read_text())
    document["settings"]["batch_size"] += 1
    (place / "small.json").write_text(json.dumps(document))
    otherwise = compressor(*command, cwd=place)
    assert (otherwise.returncode, "small.json: U930" in otherwise.stderr) == (2, True)
    assert "not measured as this run is: batch size " in otherwise.stderr
    assert "evaluate before" not in otherwise.stderr  # before any work
    document["data"]["sha256"] = "0" * 64
    (place / "small.json").write_text(json.dumps(document))
    other = compressor(*command, cwd=place)
    assert (other.returncode, "small.json: U914" in other.stderr) == (2, True)
    (place / "small.json").write_text("{}")
    wrong = compressor(*command, cwd=place)
    assert (wrong.returncode, "small.json: U902" in wrong.stderr) == (2, True)


def test_compare_puts_runs_in_one_table(place: Path) -> None:
    done = compressor("compare", "reports/half", "reports/gated", "tiny.yaml", "--plot", "p.png", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "left out: tiny.yaml: U902" in done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()[2:4]} == {"half", "gated"}
    assert any(cell.endswith("*") for line in done.stdout.splitlines()[2:4] for cell in line.split("  "))
    assert (place / "p.png").read_bytes().startswith(b"\x89PNG")
    again = compressor("compare", "reports/half", "--plot", "p.png", cwd=place)
    assert (again.returncode, "O601" in again.stderr) == (2, True)
    document = json.loads(compressor("compare", "reports/half", "reports/gated", "--json", cwd=place).stdout)
    assert [run["name"] for run in sorted(document["runs"], key=lambda run: -run["after"]["AP"])] == [
        run["name"] for run in document["runs"]
    ]
    assert {key for run in document["runs"] for key in run["best"]} == {"size", "sparsity", "latency"}
    (place / "photo.png").write_bytes((place / "images" / "000.png").read_bytes())
    foreign = compressor("compare", "reports/half", "--plot", "photo.png", "--force", cwd=place)
    assert (foreign.returncode, "O603" in foreign.stderr) == (2, True)
    page = compressor("compare", "reports/half", "--md", "--plot", "p.png", "--force", cwd=place).stdout
    assert page.startswith("# 1 runs\n\n| run")
    assert "](p.png)" in page
    assert "data:image/png;base64," in compressor("compare", "reports/half", "copy", "--html", cwd=place).stdout
    none = compressor("compare", "tiny.yaml", cwd=place)
    assert (none.returncode, "U901" in none.stderr) == (2, True)
    assert compressor("compare", "reports/half", "--sort", "beauty", cwd=place).returncode == 2
