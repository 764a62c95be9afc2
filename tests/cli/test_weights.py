"""Weights as users name them: URLs, names without a network, and other people's checkpoints."""

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import safetensors.torch

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.recipe.schema import Recipe
from trials.commands import compressor
from trials.tiny import NAMES, tiny_data, tiny_model, tiny_weights

RECIPES = Path(__file__).parents[2] / "recipes"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    (tmp_path / "served").mkdir()
    tiny_weights(tmp_path / "served")
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_url_is_fetched_once_and_kept(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    cache = {"COMPRESSOR_CACHE": str(tmp_path / "cache")}
    url = f"http://127.0.0.1:{server.server_port}/tiny.safetensors"
    first = compressor("inspect", url, cwd=tmp_path, env=cache, downloads=True)
    assert first.returncode == 0, first.stderr
    (tmp_path / "served" / "tiny.safetensors").unlink()
    second = compressor("inspect", url, cwd=tmp_path, env=cache)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    missing = compressor("inspect", url.replace("tiny", "other"), cwd=tmp_path, env=cache, downloads=True)
    assert missing.returncode == 3
    assert "404" in missing.stderr


def test_no_network_says_where_to_put_the_file_by_hand(tmp_path: Path) -> None:
    env = {"COMPRESSOR_CACHE": str(tmp_path / "cache"), "COMPRESSOR_WEIGHTS_URL": "http://127.0.0.1:9"}
    done = compressor("inspect", "yolov5s.pt", cwd=tmp_path, env=env, downloads=True)
    assert done.returncode == 3
    assert "N701" in done.stderr
    assert "http://127.0.0.1:9/v7.0/yolov5s.pt" in done.stderr
    assert str(tmp_path / "cache") in done.stderr


@pytest.mark.parametrize("recipe", ["yolov5_uniform30", "yolov5_global30"])
@pytest.mark.parametrize("weights", ["waste_nc2", "animals_nc3", "helmet_vest_nc2"])
def test_family_recipes_plan_on_custom_checkpoints(shared: Path, tmp_path: Path, recipe: str, weights: str) -> None:
    file = shared / "data" / "weights" / f"{weights}.pt"
    given = ("--weights", file, "--data", "mine.yaml", "--set", "evaluation.image_size=64")
    done = compressor("plan", RECIPES / f"{recipe}.yaml", *given, cwd=tmp_path)
    assert done.returncode == 2  # for the data alone, which apply would miss
    assert "apply would refuse this:\nmine.yaml: D402" in done.stderr
    assert "model.24.m.2" in done.stdout
    total = next(line for line in done.stdout.splitlines() if line.startswith("total "))
    assert total.split()[-4:-2] == ["30.00", "%"]


def test_an_artifact_is_judged_on_what_repaired_it_only_when_asked(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    steps = [{"type": "prune", "sparsity": 0.5, "allocation": "uniform"}, {"type": "repair", "method": "least_squares"}]
    recipe = Recipe.model_validate({"version": 1, "data": str(data), "modifiers": steps}).model_dump(mode="json")
    made_by = Provenance(recipe, "tiny", "0" * 64)
    (tmp_path / "x.safetensors").write_bytes(encode_model(tiny_model(), Form("float32", "dense"), made_by))
    words = ("evaluate", "x.safetensors", "--data", "tiny.yaml", "--image-size", "64", "--device", "cpu", "--split")
    refused = compressor(*words, "train", cwd=tmp_path)
    assert refused.returncode == 2 and not refused.stdout
    assert "tiny.yaml: D411 5 of the images by which the model was repaired are judged on" in refused.stderr
    assert compressor(*words, "train", "--seen", cwd=tmp_path).returncode == 0
    assert compressor(*words, "val", cwd=tmp_path).returncode == 0


ASSUMED = "x.safetensors holds tensors alone, so these are assumed: SiLU activations"
SMALL = ("--image-size", "64", "--device", "cpu")


@pytest.fixture(scope="module")
def tensors_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensors_alone")
    named = {"names": json.dumps(NAMES)}
    (folder / "x.safetensors").write_bytes(safetensors.torch.save(tiny_model().state_dict(), named))
    tiny_data(folder, images=2)
    steps = "modifiers: [{type: prune, sparsity: 0.5, allocation: uniform}]\n"
    text = f"version: 1\nmodel: {{weights: x.safetensors}}\ndata: tiny.yaml\nevaluation: {{image_size: 64}}\n{steps}"
    (folder / "r.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "x.safetensors", "--data", "tiny.yaml", *SMALL),
        ("plan", "r.yaml"),
        ("export", "x.safetensors", "--format", "dense", "--images", "tiny.yaml", "--output", "y.safetensors"),
        ("benchmark", "x.safetensors", "--runs", "1", "--warm-up", "1", *SMALL),
        ("init", "x.safetensors", "--output", "made.yaml", "--force"),
    ],
    ids=lambda words: words[0],
)
def test_what_was_assumed_of_tensors_alone_is_told_by_every_command(
    words: tuple[str, ...], tensors_alone: Path
) -> None:
    done = compressor(*words, cwd=tensors_alone)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"warning: {ASSUMED}") == 1


def test_what_was_assumed_of_tensors_alone_stands_in_every_record(tensors_alone: Path) -> None:
    done = compressor("apply", "r.yaml", cwd=tensors_alone)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"warning: {ASSUMED}") == 1
    folder = tensors_alone / "reports" / "r"
    assert json.loads((folder / "run.json").read_text())["warnings"][0].startswith(ASSUMED)
    assert "holds tensors alone, so these are assumed: SiLU activations" in (folder / "report.md").read_text()
    seen = compressor("inspect", "x.safetensors", cwd=tensors_alone).stdout
    assert next(line for line in seen.splitlines() if line.startswith("assumed ")).split()[1] == "SiLU"
    words = ("evaluate", "x.safetensors", "--data", "tiny.yaml", *SMALL, "--json")
    document = json.loads(compressor(*words, cwd=tensors_alone).stdout)
    assert [warning.startswith(ASSUMED) for warning in document["warnings"]] == [True]
