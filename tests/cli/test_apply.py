import json
import shutil
from pathlib import Path

import pytest

from compressor.artifact.load import load_model
from compressor.plan.layers import convolutions
from compressor.report.tables import steps_table
from compressor.results.run import load_run
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_recipe, tiny_weights


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with weights, data and two recipes, both applied."""
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    for name, allocation in (("tiny_half", "uniform"), ("tiny_global", "global")):
        tiny_recipe(folder, name, allocation=allocation)
        done = compressor("apply", f"{name}.yaml", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / f"{name}.out").write_text(done.stdout)
        (folder / f"{name}.err").write_text(done.stderr)
    return folder


def test_writes_the_whole_run_folder_and_nothing_beside_it(place: Path) -> None:
    names = {path.name for path in (place / "reports" / "tiny_half").iterdir()}
    files = {"report.md", "run.json", "model.safetensors", "predictions_before.json", "predictions_after.json"}
    assert names == files | {"classes.png", "examples.png", "precision_recall.png", "sparsity.png"}
    assert {path.name for path in (place / "reports").iterdir()} == {"tiny_half", "tiny_global"}


def test_streams_are_apart(place: Path) -> None:
    out, err = (place / "tiny_half.out").read_text(), (place / "tiny_half.err").read_text()
    assert "COCO metrics\n" in out
    assert "AP50 " in out
    assert "reports/tiny_half/report.md" in out
    assert "evaluate before" in err
    assert "evaluate before" not in out
    assert "\x1b" not in out + err


def test_artifact_is_what_was_planned_and_judged(place: Path) -> None:
    run = load_run(place / "reports" / "tiny_half")
    loaded = load_model(place / "reports" / "tiny_half" / "model.safetensors")
    zeros = {layer.name: layer.zeros for layer in convolutions(loaded.model)}
    assert zeros == {layer.name: layer.zeros_after for layer in run.changes[0].layers}
    assert zeros == {layer.name: layer.zeros for layer in run.layers}
    assert loaded.recipe == run.recipe
    assert run.sparsity.conv_weights == pytest.approx(0.5, abs=1e-3)
    assert run.sizes.artifact.size_bytes == (place / "reports" / "tiny_half" / "model.safetensors").stat().st_size


def test_run_json_holds_the_keys_others_rely_on(place: Path) -> None:
    document = json.loads((place / "reports" / "tiny_half" / "run.json").read_text())
    for side in ("baseline", "compressed"):
        coco = document[side]["metrics"]["coco"]
        assert list(coco) == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
        assert list(document[side]["metrics"]["detection"]) == ["P", "R", "mAP50", "mAP50_95"]
    assert document["schema"] == "compressor/run/2"


def test_evaluating_the_artifact_gives_the_figures_of_the_run(place: Path) -> None:
    artifact = place / "reports" / "tiny_half" / "model.safetensors"
    arguments = ("--data", "tiny.yaml", "--image-size", "64", "--batch-size", "4", "--json")
    done = compressor("evaluate", artifact, *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    run = json.loads((place / "reports" / "tiny_half" / "run.json").read_text())
    judged = json.loads(done.stdout)
    assert judged["metrics"] == run["compressed"]["metrics"]
    assert judged["data"] == run["compressed"]["data"]


def test_same_recipe_gives_the_same_bytes(place: Path) -> None:
    done = compressor("apply", "tiny_half.yaml", "--output", "again", "--no-evaluate", cwd=place)
    assert done.returncode == 0, done.stderr
    first, second = (place / folder / "model.safetensors" for folder in ("reports/tiny_half", "again"))
    assert first.read_bytes() == second.read_bytes()
    assert "was not measured" in (place / "again" / "report.md").read_text()
    assert not (place / "again" / "predictions_before.json").exists()


def test_earlier_run_is_kept_unless_forced(place: Path) -> None:
    before = (place / "reports" / "tiny_half" / "run.json").read_bytes()
    refused = compressor("apply", "tiny_half.yaml", cwd=place)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "O601" in refused.stderr
    assert "--force" in refused.stderr
    assert (place / "reports" / "tiny_half" / "run.json").read_bytes() == before
    (place / "mine").mkdir(exist_ok=True)
    (place / "mine" / "thesis.tex").write_text("x")
    for record in ("", "{}", (place / "reports" / "tiny_half" / "run.json").read_text()):
        (place / "mine" / "run.json").write_text(record)
        forced = compressor("apply", "tiny_half.yaml", "--output", "mine", "--force", cwd=place)
        assert forced.returncode == 2
        assert "O603" in forced.stderr
        assert (place / "mine" / "thesis.tex").exists()


def test_forced_run_takes_the_place_of_the_earlier_one(place: Path) -> None:
    shutil.copytree(place / "reports" / "tiny_half", place / "old", dirs_exist_ok=True)
    done = compressor("apply", "tiny_half.yaml", "--output", "old", "--force", "--no-evaluate", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (place / "old").iterdir()} == {
        *("report.md", "run.json", "model.safetensors", "sparsity.png")
    }
    assert not list(place.glob(".old*"))


@pytest.mark.parametrize("fuse", ["after", "never"])
def test_other_orders_of_fusing_keep_every_zero(place: Path, fuse: str) -> None:
    tiny_recipe(place, f"tiny_{fuse}", fuse=fuse)
    done = compressor("apply", f"tiny_{fuse}.yaml", "--no-evaluate", "--set", "artifact.dtype=float32", cwd=place)
    assert done.returncode == 0, done.stderr
    loaded = load_model(place / "reports" / f"tiny_{fuse}" / "model.safetensors").model
    assert loaded.fused is (fuse == "after")
    for layer in convolutions(loaded):
        assert layer.zeros == round(0.5 * layer.weight.numel())


def test_inspect_tells_source_and_artifact_apart(place: Path) -> None:
    source = compressor("inspect", "tiny.safetensors", cwd=place)
    assert source.returncode == 0, source.stderr
    assert "3: disc, box, bar" in source.stdout
    artifact = compressor("inspect", "reports/tiny_half/model.safetensors", "--json", cwd=place)
    document = json.loads(artifact.stdout)
    assert document["sparsity"] == pytest.approx(0.5, abs=1e-3)
    assert document["dtype"] == "float16"
    assert document["recipe"]["modifiers"][0]["allocation"] == "uniform"
    listed = compressor("inspect", "reports/tiny_half/model.safetensors", "--layers", cwd=place)
    assert "50.00 %" in listed.stdout


def test_a_run_folder_in_the_place_of_weights_is_told_its_file(place: Path) -> None:
    done = compressor("evaluate", "reports/tiny_half", "--data", "tiny.yaml", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "name the file in it: reports/tiny_half/model.safetensors" in done.stderr


def test_inspect_weighs_what_the_file_holds(place: Path) -> None:
    file = place / "reports" / "tiny_half" / "model.safetensors"
    document = json.loads(compressor("inspect", str(file), "--sizes", "--json", cwd=place).stdout)
    run = json.loads((file.parent / "run.json").read_text())
    assert document["sizes"] == {**run["sizes"], "source": run["sizes"]["artifact"]}
    for layer in document["layers"]:
        bits = layer["shape"][0] * -(-layer["weights"] // layer["shape"][0] // 8)
        kept = layer["weights"] - layer["zeros"]
        encoded = 2 * kept + bits + 16 + 8 * layer["shape"][0]
        assert layer["size_bytes"] == (encoded if layer["layout"] == "bitmask" else 2 * layer["weights"])
        assert layer["gzip_bytes"] > 0
    assert {layer["layout"] for layer in document["layers"]} == {"bitmask", "dense"}
    text = compressor("inspect", str(file), "--sizes", "--layers", cwd=place).stdout
    assert "dense, float32" in text
    assert "gzipped" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("apply", "tiny_hlaf.yaml"), 2, ("R108", "did you mean 'tiny_half.yaml'?")),
        (("apply", "tiny_half.yaml", "--output", "x", "--weights", "nope.pt"), 2, ("W301",)),
        (("apply", "tiny_half.yaml", "--output", "x", "--weights", "tiny.yaml"), 2, ("W302",)),
        (("apply", "tiny_half.yaml", "--output", "x", "--data", "nope.yaml"), 2, ("nope.yaml",)),
        (("apply", "tiny_half.yaml", "--output", "x", "--device", "cuda:99"), 2, ("U903", "--device")),
        (("apply", "tiny_half.yaml", "--output", "x", "--set", "modifiers.0.targets=[bone]"), 2, ("P201", "--set")),
        (("apply", "tiny_half.yaml", "--output", "tiny.yaml/x"), 2, ("O602",)),
        (("diff", "reports/tiny_half", "nowhere"), 2, ("U901",)),
        (("diff", "reports/tiny_half", "tiny.yaml"), 2, ("U902",)),
        (
            ("apply", "tiny_half.yaml", "--output", "x", "--set", "modifiers.0.sparsity=0.0000001"),
            2,
            ("P204", "no weight"),
        ),
        (("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--conf-thres", "nan"), 2, ("R103", "--conf-thres")),
        (("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--device", "meta"), 2, ("U903",)),
        (("aply", "x"), 2, ("did you mean 'apply'?",)),
        (("evaluate", "tiny.safetensors", "--data", "tiny.yaml", "--split", "test"), 2, ("test",)),
    ],
)
def test_faults_end_in_a_sentence_and_leave_nothing(
    place: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = compressor(*arguments, cwd=place)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (place / "x").exists()
    assert not list(place.rglob(".*.partial"))


def test_data_of_other_classes_is_refused(place: Path, tmp_path: Path) -> None:
    yaml = tiny_data(tmp_path / "other")
    yaml.write_text(yaml.read_text().replace("  2: bar\n", ""))
    done = compressor("evaluate", "tiny.safetensors", "--data", yaml, cwd=place)
    assert done.returncode == 2
    assert "D409" in done.stderr
    assert "disc, box, bar" in done.stderr


def test_weights_and_data_may_be_left_to_the_command_line(place: Path, tmp_path: Path) -> None:
    text = (
        (place / "tiny_half.yaml")
        .read_text()
        .replace("  weights: tiny.safetensors\n", "")
        .replace("data: tiny.yaml\n", "")
    )
    bare = tmp_path / "bare.yaml"
    bare.write_text(text)
    assert "R111" in compressor("apply", bare, "--output", "x", cwd=place).stderr
    assert "R112" in compressor("apply", bare, "--output", "x", "--weights", "tiny.safetensors", cwd=place).stderr
    options = ("--weights", "tiny.safetensors", "--data", "tiny.yaml", "--output", tmp_path / "x")
    assert compressor("apply", bare, *options, cwd=place).returncode == 0


def test_where_the_time_went_is_told_recorded_and_reported(place: Path) -> None:
    told = (place / "tiny_half.err").read_text().rpartition("Where the time went\n")[2]
    run = load_run(place / "reports" / "tiny_half")
    steps = {step.name: step.wall_s for step in run.steps}
    assert {"evaluate before", "evaluate after", "prune", "save model.safetensors", "report", ""} <= set(steps)
    assert sum(steps.values()) == pytest.approx(run.duration_s)
    assert told == steps_table(run.steps).text() + "\n"
    assert steps_table(run.steps).markdown() in (place / "reports" / "tiny_half" / "report.md").read_text()


def test_times_that_no_run_has_are_refused_and_a_record_without_any_is_read(place: Path) -> None:
    document = json.loads((place / "reports" / "tiny_half" / "run.json").read_text())
    (place / "edited").mkdir()
    for steps, read in (([], True), ([{"name": "", "wall_s": 0.0, "cpu_s": 0.0}], False)):
        (place / "edited" / "run.json").write_text(json.dumps({**document, "steps": steps}))
        done = compressor("compare", "edited", cwd=place)
        assert (done.returncode == 0) is read, done.stderr
        assert ("steps" in done.stderr) is not read
