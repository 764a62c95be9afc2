"""`compressor init`, in this process, as a new one takes seconds to load torch; the last test starts its own."""

import contextlib
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.cli.main import cli
from compressor.models.yolov5 import describe
from compressor.recipe.load import load_recipe
from compressor.recipe.modifiers import Prune
from compressor.tasks.init import ALLOCATION, SPARSITY
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_model, tiny_weights

NASTY = ('"quo\'ted": ${x} # no', "two\nlines: {", "🚢 Größe")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_weights(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_gflops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting GFLOPs takes longer than all the rest."""
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)


def invoke(*arguments: str | Path, cwd: Path) -> Result:
    with contextlib.chdir(cwd):
        return CliRunner().invoke(cli, list(map(str, arguments)))


def planned(recipe: str, folder: Path) -> dict[str, object]:
    """What `compressor plan --json` says: sparsity, and sizes by layout in the recipe's dtype."""
    done = invoke("plan", recipe, "--json", "--no-times", cwd=folder)
    assert done.exit_code == 0 or "D402" in done.stderr, done.stderr  # the data that a recipe names need not be there
    document = json.loads(done.stdout)
    sizes = {each["layout"]: each["size_bytes"] for each in document["sizes"] if each["dtype"] == document["dtype"]}
    return {**sizes, "sparsity": document["sparsity"]["targeted"], "recipe": document["recipe"]}


@pytest.mark.parametrize(("size", "limit"), [("165.5 kb", 165_500), ("78%", None)])
def test_size_is_kept_and_one_step_less_would_not_do(place: Path, size: str, limit: int | None) -> None:
    done = invoke("init", "tiny.safetensors", "--size", size, cwd=place)
    assert done.exit_code == 0, done.stderr
    assert "search the sparsity" in done.stderr
    (place / "recipe.yaml").write_text(done.stdout, encoding="utf-8")
    figures = planned("recipe.yaml", place)
    dense, bitmask = figures["dense"], figures["bitmask"]
    assert isinstance(dense, int)
    assert isinstance(bitmask, int)
    limit = limit or int(0.78 * dense)
    assert limit - 1000 < bitmask <= limit
    sparsity = yaml.safe_load(done.stdout)["modifiers"][0]["sparsity"]
    assert figures["sparsity"] == pytest.approx(sparsity, abs=1e-3)
    (place / "less.yaml").write_text(done.stdout.replace(f"sparsity: {sparsity}", f"sparsity: {sparsity - 1e-3:.3f}"))
    less = planned("less.yaml", place)["bitmask"]
    assert isinstance(less, int)
    assert less > limit


@pytest.mark.parametrize(
    ("arguments", "sparsity"),
    [((), 0.3), (("--sparsity", "0.5", "--allocation", "lamp"), 0.5), (("--pattern", "2:4"), 0.5)],
)
def test_plan_shows_the_promised_sparsity(place: Path, arguments: tuple[str, ...], sparsity: float) -> None:
    done = invoke("init", "tiny.safetensors", *arguments, "--output", "new/tiny.yaml", "-q", cwd=place)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert [path.name for path in (place / "new").iterdir()] == ["tiny.yaml"]
    figures = planned("new/tiny.yaml", place)
    assert figures["sparsity"] == pytest.approx(sparsity, abs=1e-3)
    first, second = done.stdout.splitlines()
    assert first.startswith("new/tiny.yaml: YOLOv5 (depth 0.33, width 0.0625) ")
    assert isinstance(figures["bitmask"], int)
    assert f"{figures['bitmask'] / 1e6:.3f} MB" in second
    text = (place / "new" / "tiny.yaml").read_text(encoding="utf-8")
    assert "compressor plan new/tiny.yaml\n" in text
    assert f"{figures['bitmask']:,} bytes" in text


def test_names_with_odd_letters(tmp_path: Path) -> None:
    model = tiny_model()
    model.names = NASTY
    weights = tmp_path / "a: ${b} #'\n\".safetensors"
    weights.write_bytes(encode_model(model, Form("float32", "dense"), Provenance({}, "tiny", "0" * 64)))
    done = invoke("init", weights.name, "--data", "my #data\t${1}.yaml", "--output", "my r.yaml", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    recipe = load_recipe(tmp_path / "my r.yaml").recipe
    assert (recipe.model.weights, recipe.data) == (weights.name, "my #data\t${1}.yaml")
    text = (tmp_path / "my r.yaml").read_text(encoding="utf-8")
    assert '3 classes: "quo\'ted": ${x} # no, two\\nlines: {, 🚢 Größe\n' in text
    assert "compressor plan 'my r.yaml'\n" in text
    assert planned("my r.yaml", tmp_path)["recipe"] == recipe.model_dump(mode="json")


def test_existing_recipe_is_replaced_only_when_asked_to(place: Path) -> None:
    (place / "mine.yaml").write_text("version: 1\nmodifiers: [unfinished\n")
    (place / "old.yaml").write_text("version: 1\nmodifiers: []\n")
    arguments = ("init", "tiny.safetensors", "--output", "old.yaml")
    done = invoke(*arguments, cwd=place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("old.yaml: O601 there is a recipe here already\n")
    assert (place / "old.yaml").read_text() == "version: 1\nmodifiers: []\n"
    done = invoke(*arguments, "--force", cwd=place)
    assert done.exit_code == 0, done.stderr
    assert load_recipe(place / "old.yaml").recipe.model.weights == "tiny.safetensors"
    names = {"mine.yaml", "old.kept.yaml", "old.yaml", "tiny.safetensors"}
    assert {path.name for path in place.iterdir()} == names, "what somebody wrote is kept"


@pytest.mark.parametrize("output", ["tiny.safetensors", "notes.txt", "folder", "link.yaml", "broken.yaml"])
def test_what_is_not_a_recipe_is_never_replaced(place: Path, output: str) -> None:
    (place / "notes.txt").write_text("buy milk\n")
    (place / "folder").mkdir()
    (place / "link.yaml").symlink_to("nowhere.yaml")
    (place / "broken.yaml").write_text("version: [\n")
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    done = invoke("init", "tiny.safetensors", "--output", output, "--force", cwd=place)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{output}: O603 ")
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before
    assert (place / "link.yaml").is_symlink()


def test_place_that_cannot_be_written_to(place: Path) -> None:
    done = invoke("init", "tiny.safetensors", "--output", "tiny.safetensors/mine.yaml", cwd=place)
    assert done.exit_code == 2
    assert "O602 cannot write here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sparsity", "0.3", "--size", "1MB"), "--sparsity and --size contradict one another"),
        (("--size", "1MB", "--pattern", "2:4"), "--size and --pattern contradict one another"),
        (("--pattern", "2:4", "--allocation", "lamp"), "--allocation shares out a sparsity"),
        (("--pattern", "unstructured"), "--pattern names N and M"),
        (("--size", "2.5MiB"), "'2.5MiB' is not a size; write 2.5MB"),
        (("--size", "-1MB"), "'-1MB' is not a size"),
        (("--size", "9" * 99 + "MB"), "is not a size"),
        (("--force",), "name it with --output"),
    ],
)
def test_usage_errors(place: Path, arguments: tuple[str, ...], message: str) -> None:
    done = invoke("init", "tiny.safetensors", *arguments, cwd=place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
    assert "Usage: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "1kB"), "--size: U905 a file of 0.001 MB is out of reach: pruning this model gives "),
        (("--size", "5GB"), "--size: U905 a file of 5000.000 MB is out of reach"),
        (("--size", "100%"), "--size: U905 "),
        (("--sparsity", "30"), "--sparsity: R103 "),
        (("--allocation", "globl"), "--allocation: R105 "),
    ],
)
def test_goals_that_cannot_be(place: Path, arguments: tuple[str, ...], message: str) -> None:
    done = invoke("init", "tiny.safetensors", *arguments, "--output", "mine.yaml", cwd=place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (place / "mine.yaml").exists()


def test_help_names_the_defaults_and_every_allocation() -> None:
    options = {option.name: getattr(option, "help", None) or "" for option in cli.commands["init"].params}
    allocations = re.findall(r"'(\w+)'", str(Prune.model_fields["allocation"].annotation))
    allocations.remove("sensitivity")  # needs a table besides
    assert all(name in options["allocation"] for name in allocations)
    assert f"{ALLOCATION} when not given" in options["allocation"]
    assert f"{SPARSITY:g}" in options["sparsity"]


@pytest.mark.parametrize("arguments", [("--size", "2.5MB"), ("--pattern", "2:4")])
def test_real_checkpoint(shared: Path, tmp_path: Path, arguments: tuple[str, str]) -> None:
    weights = shared / "data" / "weights" / "animals_nc3.pt"
    done = invoke("init", weights, *arguments, cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("# YOLOv5n, generation v6, 3 classes: wild boar, deer, bear\n")
    (tmp_path / "recipe.yaml").write_text(done.stdout, encoding="utf-8")
    figures = planned("recipe.yaml", tmp_path)
    if arguments[0] == "--size":
        assert isinstance(figures["bitmask"], int)
        assert 2_490_000 < figures["bitmask"] <= 2_500_000
    else:
        assert figures["sparsity"] == pytest.approx(0.5, abs=1e-4)


def test_the_recipe_runs_as_it_is(place: Path) -> None:
    tiny_data(place)
    done = compressor("init", "tiny.safetensors", "--data", "tiny.yaml", "--output", "mine.yaml", cwd=place)
    assert done.returncode == 0, done.stderr
    run = invoke("apply", "mine.yaml", "--set", "evaluation.image_size=64", cwd=place)
    assert run.exit_code == 0, run.stderr
    promised = re.search(r"will have ([0-9,]+) bytes", (place / "mine.yaml").read_text(encoding="utf-8"))
    assert promised
    written = (place / "reports" / "mine" / "model.safetensors").stat().st_size
    # the file holds the recipe, whose image size is shorter
    assert abs(written - int(promised[1].replace(",", ""))) <= 8
