"""What `compressor plan` foretells is what `compressor apply` then does."""

import json
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.models.detector import Detector
from tests.models.yolov5.arithmetic import macs_of_weights
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_model, tiny_recipe, tiny_weights

FORMS = [(dtype, layout) for dtype in ("float16", "float32") for layout in ("bitmask", "dense")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder)
    tiny_data(folder)
    return folder


def planned(place: Path, *arguments: str) -> dict[str, Any]:
    done = compressor("plan", *arguments, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("fuse", ["before", "after", "never"])
def test_layers_sparsity_and_file_size_come_true(place: Path, fuse: str) -> None:
    recipe = tiny_recipe(place, f"tiny_{fuse}", fuse=fuse, allocation="global").name
    before = (place / "tiny.safetensors").read_bytes()
    plan = planned(place, recipe)
    assert plan["schema"] == "compressor/plan/1"
    assert plan["recipe"]["modifiers"][0]["sparsity"] == 0.5
    sizes = {(size["dtype"], size["layout"]): size["size_bytes"] for size in plan["sizes"]}
    assert list(sizes) == FORMS
    for dtype, layout in FORMS if fuse == "before" else FORMS[::3]:  # a number type and a layout hang on no other
        sets = ("--set", f"artifact.dtype={dtype}", "--set", f"artifact.layout={layout}")
        output = f"{fuse}_{dtype}_{layout}"
        assert compressor("apply", recipe, *sets, "--no-evaluate", "--output", output, cwd=place).returncode == 0
        assert sizes[dtype, layout] == (place / output / "model.safetensors").stat().st_size
        run = json.loads((place / output / "run.json").read_text())
        assert plan["steps"] == run["changes"]
        assert plan["sparsity"] == pytest.approx(run["sparsity"], abs=1e-4)  # float16 may round a weight to zero
    assert (place / "tiny.safetensors").read_bytes() == before
    assert not (place / "reports").exists()


def test_arithmetic_is_that_of_the_network(place: Path) -> None:
    recipe = tiny_recipe(place, "tiny_macs").name
    plan = planned(place, recipe, "--set", "modifiers.0.targets=[neck]")
    model: Detector = tiny_model()
    counted = macs_of_weights(model)  # at 32 px; the recipe asks for 64
    assert plan["image_size"] == 64
    assert plan["macs"] == {name: 4 * counted[name] for name in plan["macs"]}
    text = compressor("plan", recipe, "--set", "modifiers.0.targets=[neck]", cwd=place).stdout
    neck = sum(plan["macs"][layer["name"]] for layer in plan["steps"][0]["layers"])
    assert f"{100 * neck / sum(plan['macs'].values()):.2f} %" in text


def test_time_is_told_for_the_images_at_hand(place: Path) -> None:
    recipe = tiny_recipe(place, "tiny_time").name
    plan = planned(place, recipe)
    stages = ["open", "evaluate before", "modify", "save", "evaluate after", "turns", "report"]
    assert [time["stage"] for time in plan["times"]] == stages
    assert all(time["seconds"] > 0 for time in plan["times"])
    assert "6 images" in plan["times"][1]["basis"]
    assert plan["refused"] == []
    done = compressor("plan", recipe, "--data", "nowhere.yaml", "--set", "evaluation.baseline=false", cwd=place)
    assert done.returncode == 2
    assert "more than" in done.stdout.splitlines()[-1]
    assert "apply would refuse this:\nnowhere.yaml: D402" in done.stderr
    done = compressor("plan", recipe, "--data", "nowhere.yaml", "--no-evaluate", "--json", cwd=place)
    assert (done.returncode, "nowhere" in done.stderr) == (0, False)
    assert [time["stage"] for time in json.loads(done.stdout)["times"]] == ["open", "modify", "save", "report"]


def test_text_names_every_layer_and_the_form_the_recipe_asks_for(place: Path) -> None:
    recipe = tiny_recipe(place, "tiny_text").name
    sparsity = 'modifiers.0.sparsity={backbone: 0.5, neck: 0.25, "kernel: 3x3": 0.75}'
    done = compressor("plan", recipe, "--set", sparsity, "--set", "artifact.dtype=float32", cwd=place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "1. prune 50 % of backbone, 25 % of neck, 75 % of kernel: 3x3: " in done.stdout
    shares = {name: line.split()[-4] for line in lines if (name := line.split(" ")[0]).startswith("model.")}
    assert shares["model.1.conv"] == "75.00"
    assert shares["model.2.cv1.conv"] == "50.00"
    assert shares["model.17.cv1.conv"] == "25.00"
    assert "model.24.m.0" not in shares
    (marked,) = [line for line in lines if "<- this recipe" in line]
    assert marked.split()[:2] == ["float32", "bitmask"]


def test_two_steps_are_planned_one_after_the_other(place: Path) -> None:
    recipe = place / "two.yaml"
    recipe.write_text(
        "version: 1\nmodel: {weights: tiny.safetensors}\nmodifiers:\n"
        "  - {type: prune, allocation: uniform, sparsity: 0.3}\n"
        "  - {type: prune, targets: [backbone], allocation: uniform, sparsity: 0.6}\n"
    )
    first, second = planned(place, "two.yaml", "--no-evaluate")["steps"]
    before = {layer["name"]: layer["zeros_after"] for layer in first["layers"]}
    assert all(layer["zeros_before"] == before[layer["name"]] for layer in second["layers"])
    recipe.write_text(recipe.read_text().replace("0.6", "0.2"))
    done = compressor("plan", "two.yaml", cwd=place)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2].startswith("two.yaml:5:5: P205 modifiers[1] makes no difference")


def test_a_repair_is_told_and_not_done(place: Path) -> None:
    recipe = place / "gradual.yaml"
    recipe.write_text(
        "version: 1\nmodel: {weights: tiny.safetensors}\nmodifiers:\n"
        "  - {type: prune, allocation: global, sparsity: 0.3}\n"
        "  - {type: repair, calibration: {data: nowhere}}\n"
        "  - {type: prune, allocation: global, sparsity: 0.6}\n"
    )
    done = compressor("plan", "gradual.yaml", "--no-evaluate", cwd=place)
    assert done.returncode == 2
    assert "apply would refuse this:\nnowhere: D402" in done.stderr
    assert "2. repair 60 layers by least squares on 32 unlabelled images\n" in done.stdout
    assert done.stdout.count("the shares of the layers are a guess") == 1
    assert "repairs are not tried, they take minutes" in done.stdout
    done = compressor("plan", "gradual.yaml", "--no-evaluate", "--json", cwd=place)
    document = json.loads(done.stdout)
    assert [each["code"] for each in document["refused"]] == ["D402"]
    first, repair, second = document["steps"]
    assert [layer["zeros_after"] for layer in repair["layers"]] == [layer["zeros_after"] for layer in first["layers"]]
    assert sum(layer["zeros_after"] for layer in second["layers"]) == round(
        0.6 * sum(x["weights"] for x in second["layers"])
    )


@pytest.mark.parametrize(("split", "images"), [("val", 160), ("train", 480)])
def test_nothing_is_written_not_even_the_embedded_images(tmp_path: Path, split: str, images: int) -> None:
    """Their number is known without drawing them."""
    cache = tmp_path / "cache"
    recipe = Path(__file__).parents[2] / "recipes" / "demo.yaml"
    arguments = ("plan", recipe, "--set", f"evaluation.split={split}", "--json")
    done = compressor(*arguments, cwd=tmp_path, env={"COMPRESSOR_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    assert f"{images} images" in json.loads(done.stdout)["times"][1]["basis"]
    assert list(tmp_path.iterdir()) == []


def test_what_the_file_cannot_hold_is_told_before_the_run(tmp_path: Path) -> None:
    model = tiny_model()
    model.state_dict()["model.24.m.0.bias"][0] = 1e5
    data = encode_model(model, Form("float32", "dense"), Provenance({}, "tiny", "0" * 64))
    (tmp_path / "tiny.safetensors").write_bytes(data)
    recipe = tiny_recipe(tmp_path).name
    done = compressor("plan", recipe, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "A501 " in done.stderr
    assert planned(tmp_path, recipe, "--no-evaluate", "--set", "artifact.dtype=float32")["sizes"]


def test_everything_that_apply_would_refuse_is_found_at_once(tmp_path: Path) -> None:
    """The same as `apply` finds, one after the other."""
    tiny_weights(tmp_path)
    tiny_data(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    recipe = tiny_recipe(tmp_path, "r")
    repair = "  - {type: repair, method: bias, calibration: {data: away, images: 2}}\nevaluation:"
    recipe.write_text(recipe.read_text().replace("evaluation:", repair))
    wrong = [
        ("out: O603", ["--output", "out"]),
        ("t.j2: U901", ["--set", "report.template=t.j2"]),
        ("r.json: U901", ["--set", "report.reference=r.json"]),
        ("gone.yaml: D402", ["--data", "gone.yaml"]),
        ("away: D402", []),
    ]
    done = compressor("plan", recipe.name, *(word for _, words in wrong for word in words), cwd=tmp_path)
    assert done.returncode == 2
    assert "Sparsity" in done.stdout  # it is planned all the same
    places = [done.stderr.find(found) for found, _ in wrong]
    assert places == sorted(places)
    assert places[0] > done.stderr.find("apply would refuse this:") > 0
    for i, (found, _) in enumerate(wrong):
        refused = compressor("apply", recipe.name, *(word for _, words in wrong[i:] for word in words), cwd=tmp_path)
        assert (refused.returncode, found in refused.stderr) == (2, True), refused.stderr


def test_a_run_that_is_there_already_is_told_and_is_no_error(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    recipe = tiny_recipe(tmp_path, "r").name
    assert compressor("apply", recipe, "--no-evaluate", cwd=tmp_path).returncode == 0
    done = compressor("plan", recipe, "--no-evaluate", cwd=tmp_path)
    assert (done.returncode, "apply will need --force" in done.stderr) == (0, True)
    assert "--force" not in compressor("plan", recipe, "--no-evaluate", "--force", cwd=tmp_path).stderr


def test_a_plan_needs_no_data_and_says_that_apply_will(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    recipe = tiny_recipe(tmp_path)
    recipe.write_text(recipe.read_text("utf-8").replace("data: tiny.yaml\n", ""), "utf-8")
    done = compressor("plan", recipe.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "apply will need --data: no data set is named" in done.stderr


def test_times_can_be_left_out(place: Path) -> None:
    done = compressor("plan", tiny_recipe(place).name, "--no-times", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "\nFile\n" in done.stdout and "\nTime\n" not in done.stdout
