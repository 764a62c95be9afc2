"""`compressor benchmark` from end to end; no figure is judged, for they are the machine's."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from compressor.errors import CompressorError
from compressor.progress import Silent
from compressor.tasks import benchmark as work
from compressor.tasks.benchmark import Backend, Question, benchmark
from trials.commands import compressor
from trials.tiny import tiny_weights

SMALL = ("--image-size", "64", "--runs", "6", "--warm-up", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, and the first as a graph for squares of 64 px."""
    folder = tmp_path_factory.mktemp("work")
    tiny_weights(folder, seed=1).rename(folder / "other.safetensors")
    tiny_weights(folder)
    options = ("--format", "torchscript", "--image-size", "64", "--output", "tiny.torchscript")
    done = compressor("export", "tiny.safetensors", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_files_stand_side_by_side_by_threads_and_batch_size(place: Path) -> None:
    files = ("tiny.safetensors", "other.safetensors", "tiny.torchscript")
    several = ("--batch-size", "1,3", "--threads", "1", "--threads", "2")
    done = compressor("benchmark", *files, *several, *SMALL, cwd=place)
    assert done.returncode == 0, done.stderr
    titles = re.findall(r"^64 px, (.*), float32 on cpu$", done.stdout, flags=re.MULTILINE)
    assert titles == [f"batch {batch}, {threads}" for threads in ("1 thread", "2 threads") for batch in (1, 3)]
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("tiny", "other"))]
    assert rows == [*files] * 4
    assert done.stdout.count("the first") == 4
    assert len(re.findall("(within noise|faster|slower)$", done.stdout, flags=re.MULTILINE)) == 8
    assert "6 passes of each in turns, after 1 to warm up" in done.stdout
    assert "load average" in done.stdout
    assert "batch 3, 2 threads" in done.stderr
    assert "passes" in done.stderr


def test_json_holds_every_pass_and_figures_made_of_them(place: Path) -> None:
    arguments = ("tiny.safetensors", "tiny.torchscript", "--batch-size", "2", *SMALL, "--json", "--quiet")
    done = compressor("benchmark", *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "compressor/tasks/benchmark/1"
    assert (document["image_size"], document["runs"], document["warm_up"]) == (64, 6, 1)
    assert document["environment"]["cores"] >= 1
    first, second = document["measured"]
    for each in (first, second):
        assert len(each["times_ms"]) == len(each["cpu_ms"]) == 6
        assert min(each["times_ms"]) > 0
        assert min(each["times_ms"]) <= each["median_ms"] <= each["p90_ms"] <= each["p95_ms"] <= each["p99_ms"]
        assert each["images_per_s"] == pytest.approx(2000 / each["median_ms"])
        assert each["cpu_s_per_image"] == pytest.approx(sum(each["cpu_ms"]) / 6 / 2 / 1000)
    assert (first["runs_on"], first["compared"]) == ("torch", None)
    assert second["runs_on"].startswith("TorchScript")
    interval = second["compared"]["interval"]
    assert interval["low"] <= second["compared"]["ratio"] <= interval["high"]


def test_the_number_type_is_told_and_is_not_for_graphs(place: Path) -> None:
    done = compressor("benchmark", "tiny.safetensors", "--precision", "bfloat16", *SMALL, "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "bfloat16 on cpu" in done.stdout
    refused = compressor("benchmark", "tiny.torchscript", "--precision", "bfloat16", cwd=place)
    assert refused.returncode == 2
    assert "U920 --precision is for checkpoints and artifacts" in refused.stderr


def test_a_model_is_exported_for_other_backends_and_nothing_stays(place: Path, tmp_path: Path) -> None:
    backends = ("--backend", "torch", "--backend", "onnxruntime")
    env = {"TMPDIR": str(tmp_path)}
    before = sorted(place.iterdir())
    done = compressor("benchmark", "tiny.safetensors", *backends, *SMALL, "--md", cwd=place, env=env)
    assert done.returncode == 0, done.stderr
    assert "export tiny.safetensors for onnxruntime" in done.stderr
    runs_on = re.findall(r"^\| tiny\.safetensors *\| (\w+)", done.stdout, flags=re.MULTILINE)
    assert runs_on == ["torch", "onnxruntime"]
    assert done.stdout.startswith("## 64 px, batch 1, 1 thread, float32 on cpu\n")
    assert (list(tmp_path.glob("compressor*")), sorted(place.iterdir())) == ([], before)


def test_a_file_beside_itself_is_measured_twice(place: Path) -> None:
    done = compressor("benchmark", "tiny.safetensors", "tiny.safetensors", *SMALL, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert [each["file"] for each in json.loads(done.stdout)["measured"]] == ["tiny.safetensors"] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "U920 missing argument"),
        (("nowhere.safetensors",), "nowhere.safetensors: W301"),
        (("nowhere.torchscript",), "nowhere.torchscript: W301"),
        (("tiny.safetensors", "tiny.torchscript", "--image-size", "96"), "tiny.torchscript: U909"),
        (("tiny.safetensors", "tiny.torchscript"), "measure it with --image-size 64"),
        (("tiny.torchscript", "--image-size", "64", "--backend", "torch"), "a graph is run by its own runtime"),
        (("tiny.safetensors", "--backend", "torch", "--backend", "torch"), "one is named twice"),
        (("tiny.safetensors", "--backend", "onnx"), "'onnx' is not one of"),
        (("tiny.safetensors", "--batch-size", "1,0"), "'0' is not a whole number from 1 to 4096"),
        (("tiny.safetensors", "--batch-size", "1", "--batch-size", "8,1"), "1 is named twice"),
        (("tiny.safetensors", "--threads", "1,,2"), "'' is not a whole number"),
        (("tiny.safetensors", "--threads", "two"), "'two' is not a whole number"),
        (("tiny.safetensors", "--runs", "0"), "--runs"),
        (("tiny.safetensors", "--image-size", "7"), "--image-size: R103"),
        (("tiny.safetensors", "--device", "gpu"), "--device: U903"),
    ],
)
def test_what_cannot_be_measured_is_told(place: Path, arguments: tuple[str, ...], told: str) -> None:
    done = compressor("benchmark", *arguments, cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_package_is_told_before_anything_is_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(CompressorError, match=r"U912 openvino is not installed(.|\n)*compressor\[openvino\]"):
        benchmark(Question(("nowhere.pt",), ("torch", "openvino")), Silent())


@pytest.mark.parametrize(
    ("fault", "told", "backend"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory"),
            "E812 there is too little memory for 4 images of 64 px",
            "torch",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "E812", "torch"),
        (RuntimeError("something else"), "something else", "torch"),
        (KeyboardInterrupt(), "", "torchscript"),
    ],
)
def test_whatever_ends_it_threads_are_as_before_and_nothing_stays(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, told: str, backend: Backend
) -> None:
    seen: list[tuple[int, list[str]]] = []

    def fail(*_: object) -> NoReturn:
        seen.append((torch.get_num_threads(), [each.suffix for each in tmp_path.rglob("*.*")]))
        raise fault

    monkeypatch.setattr(work, "take_turns", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = torch.get_num_threads()
    file = str(place / "tiny.safetensors")
    question = Question((file,), (backend,), 64, (4,), (before + 1,), device="cpu", runs=1)
    expected = CompressorError if told.startswith("E") else type(fault)
    with pytest.raises(expected, match=told or None):
        benchmark(question, Silent())
    assert seen == [(before + 1, [] if backend == "torch" else [".torchscript"])]
    assert torch.get_num_threads() == before
    assert not list(tmp_path.iterdir())
