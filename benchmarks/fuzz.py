"""Damaged and lying inputs by the thousand: each must end in a result or in one of compressor's own errors.

Run from the repository root: `.venv/bin/python benchmarks/fuzz.py --graphs --count 3000 --seed 1 --checkpoint x.pt`.
Good files of every kind that compressor reads are changed, blindly and by their structure, and handed to the functions
that the commands call, in this process; beside them stand networks that ask for gigabytes, minutes or nonsense
(`hostile_networks.py`), each read by one of the commands that open weights. A traceback, an error that nobody foresaw
(E899), a warning of Python's, a control character on the terminal, memory that runs out (E812), or more than 20 s of
CPU time is a finding: it is printed, and its input kept in `--findings`. Exits 1 if there is any.

The limit is on the address space (RLIMIT_AS): what the imports and the good files took, and 2 GB beyond.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import multiprocessing
import os
import pickle
import platform
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).parents[1])]  # for trials


import compressor.data  # noqa: F401  # sets the bounds of OpenCV, which is imported next

# isort: split
import cv2
import torch
from hostile_networks import artifact, base, checkpoint, hostile, state_dict
from mutations import mutated

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.cli.console import Console
from compressor.cli.main import cli
from compressor.data.batches import load_batches, plan_batches
from compressor.data.calibration import load_images
from compressor.data.dataset import load_dataset, read_split
from compressor.errors import CompressorError, Diagnostic
from compressor.evaluation.coco import ground_truth_from_labels
from compressor.evaluation.evaluate import make_evaluator
from compressor.export.open import open_network
from compressor.models.yolov5.pickles import Interpreter
from compressor.recipe.schema import Evaluation
from compressor.results.sensitivity import load_table
from trials.tiny import NAMES, tiny_data, tiny_model, tiny_recipe

SECONDS, MEMORY = 20, 2 * 2**30  # of CPU time, and of address space
WAIT = 120  # seconds on the clock, which other work stretches, after which an input hangs


class Hang(BaseException):
    """An input took too long."""


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        kind: of its structure, see `mutations.mutated`.
        file: where a changed one is put.
        seeds: good ones.
        run: reads it as the commands do; raises SystemExit with a command's exit code, or CompressorError.
        make: of a random source a whole new input, instead of a changed one.
        inspect: reads an unchanged one where `run` does something else with each.
    """

    kind: str
    file: Path
    seeds: list[bytes]
    run: Callable[[], None]
    make: Callable[[Random], bytes] | None = None
    inspect: Callable[[], None] | None = None


def good_files(place: Path) -> None:
    """One file of every kind, made by the commands themselves: weights, a data set, a recipe, a run and a table."""
    source = Provenance({"version": 1}, "tiny", "0" * 64)
    for layout in ("dense", "bitmask"):
        data = encode_model(tiny_model(), Form("float32", layout), source)
        (place / f"{layout}.safetensors").write_bytes(data)
    weights, yaml = place / "dense.safetensors", tiny_data(place / "data", 3)
    recipe = tiny_recipe(place)
    shutil.copy(weights, place / "tiny.safetensors")
    quiet = ["--device", "cpu", "-q"]
    commands = [
        *(["export", weights, "--format", form, "--output", place / name, "-q"] for form, name in _EXPORTS.items()),
        ["sensitivity", weights, "--data", yaml, "--image-size", "64", "--output", place / "table.json", *quiet],
        ["apply", recipe, "--weights", weights, "--data", yaml, "--output", place / "run", *quiet],
    ]
    for words in commands:
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main([str(word) for word in words], standalone_mode=False)


_EXPORTS = {"yolov5": "x.pt", "dense": "state.safetensors"}


def as_old_container(archive: bytes) -> bytes:
    """A checkpoint as torch wrote it before its files were archives."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith("/data.pkl"))
        content = opened.read(name)
        interpreter = Interpreter("x.pt")
        interpreter.run(io.BytesIO(content))
        storages = [(stored, opened.read(f"{name[:-8]}data/{key}")) for key, stored in interpreter.storages.items()]
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    parts = [pickle.dumps(part, 2) for part in head] + [content, pickle.dumps(list(interpreter.storages), 2)]
    return b"".join([*parts, *(struct.pack("<q", stored.numel) + raw for stored, raw in storages)])


def targets(place: Path, checkpoint: Path | None) -> dict[str, Target]:
    """Every kind of input, each with good files, in a folder of its own."""
    good_files(place)
    archive = (checkpoint or place / "x.pt").read_bytes()
    weights = ("dense.safetensors", "bitmask.safetensors", "state.safetensors")
    shutil.copytree(Path(__file__).parents[1] / "recipes", place / "recipes")
    recipes = [path.read_bytes() for path in sorted(place.glob("recipes/*.yaml"))]
    table = place / "table" / "x.json"
    found = {
        "checkpoint": _read_by(place / "zip.pt", "zip", [archive], "inspect", "--layers"),
        "old checkpoint": _read_by(place / "old.pt", "", [as_old_container(archive)], "inspect", "--layers"),
        "artifact": _read_by(
            place / "changed.safetensors", "safetensors", [(place / name).read_bytes() for name in weights], "inspect"
        ),
        "recipe": _read_by(place / "recipes" / "changed.yaml", "yaml", recipes, "check", "--resolved"),
        "run.json": _read_by(
            place / "changed" / "run.json",
            "json",
            [(place / "run" / "run.json").read_bytes()],
            "diff",
            str(place / "run"),
        ),
        "table": Target("json", table, [(place / "table.json").read_bytes()], lambda: planned(table)),
    }
    return {**found, **network_targets(place), **data_targets(place)}


def _read_by(file: Path, kind: str, seeds: list[bytes], *words: str) -> Target:
    """A file that a command reads whose words these are, the file last."""
    return Target(kind, file, seeds, lambda: cli.main([*words, str(file)], standalone_mode=False))


def network_targets(place: Path) -> dict[str, Target]:
    """Layer tables of attackers in every kind of weights file."""
    random = Random(0)
    good = {
        "network": state_dict(base(3), Random(1)),
        "network.pt": checkpoint(base(3), NAMES),
        "network artifact": artifact(base(3), NAMES, random),
    }
    found = {}
    for name, seed in good.items():
        file = place / f"hostile{'.pt' if name == 'network.pt' else '.safetensors'}"
        run = partial(by_some_command, file, place)
        inspect = partial(cli.main, ["inspect", str(file)], standalone_mode=False)
        found[name] = Target("", file, [seed], run, hostile(name, NAMES), inspect)
    return found


def graph_targets(place: Path) -> dict[str, Target]:
    """Graphs for the runtimes, opened and computed; in processes of their own, which a runtime may end."""
    for form, output in (("onnx", "x.onnx"), ("openvino", "x_ir"), ("torchscript", "x.torchscript")):
        words = [
            "export",
            place / "dense.safetensors",
            "--format",
            form,
            "--image-size",
            "64",
            "--output",
            place / output,
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main([str(word) for word in [*words, "-q"]], standalone_mode=False)
    found = {}
    for kind, name in (("onnx", "x.onnx"), ("openvino", "x_ir/model.xml"), ("torchscript", "x.torchscript")):
        file = place / "changed" / kind / Path(name).name
        file.parent.mkdir(parents=True)
        if kind == "openvino":
            shutil.copy(place / "x_ir" / "model.bin", file.with_suffix(".bin"))
        run = partial(_apart, file)
        found[kind] = Target("", file, [(place / name).read_bytes()], run)
    return found


def _apart(file: Path) -> None:
    """A graph opened and computed in a process of its own; a crash of native code is told as one."""
    told = Path(tempfile.mkstemp(prefix="fuzz")[1])
    process = _PROCESSES.Process(target=_opened, args=(str(file), str(told)))
    process.start()
    try:
        process.join()
    finally:
        process.kill()
    text = told.read_text()
    told.unlink()
    if process.exitcode:
        raise CrashError(f"a runtime ended its process with {process.exitcode}")
    if text.startswith("!"):
        raise RuntimeError(text)
    if text:
        raise CompressorError(Diagnostic(text[:4], text[5:].splitlines()[0], help="-"))


def _opened(file: str, told: str) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where runtimes complain themselves
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        open_network(Path(file), torch.device("cpu")).predict(torch.zeros(2, 3, 64, 64))
    except CompressorError as error:
        Path(told).write_text(f"{error.diagnostics[0].code} {error}")
    except BaseException:
        Path(told).write_text("! " + traceback.format_exc())


def _limit_memory() -> None:
    """2 GB of address space beyond what the process has."""
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


_PROCESSES = multiprocessing.get_context("forkserver")  # runtimes have threads, which a fork of this one would lack
_PROCESSES.set_forkserver_preload(
    ["compressor.run.pipeline", "compressor.tasks.benchmark", "compressor.tasks.init", "trials.tiny"]
)


class CrashError(Exception):
    """Code that is not ours ended its process."""


def by_some_command(file: Path, place: Path) -> None:
    """The file by one of the commands that open weights; which one, its bytes decide."""
    recipe, yaml, out = place / "tiny_half.yaml", place / "data" / "tiny.yaml", place / "out"
    small = ["--image-size", "64", "--device", "cpu"]
    words: tuple[list[Any], ...] = (
        ["inspect", file, "--layers"],
        ["plan", recipe, "--weights", file, "--data", yaml, "--device", "cpu"],
        ["evaluate", file, "--data", yaml, *small],
        ["export", file, "--format", "yolov5", "--output", out / "x.pt"],
        ["benchmark", file, "--runs", "2", *small],
        ["verify", file],
        [
            "apply",
            recipe,
            "--weights",
            file,
            "--data",
            yaml,
            "--no-evaluate",
            "--output",
            out / "run",
            "--device",
            "cpu",
        ],
    )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    chosen = words[zlib.crc32(file.read_bytes()) % len(words)]
    cli.main([str(word) for word in chosen], standalone_mode=False)


def planned(table: Path) -> None:
    """A table, and a step that goes by it."""
    load_table(table)
    step = f"modifiers.0={{type: prune, allocation: sensitivity, table: {table}, sparsity: 0.5}}"
    recipe = table.parents[1] / "tiny_half.yaml"
    place = table.parents[1]
    given = ["--weights", place / "tiny.safetensors", "--data", place / "data" / "tiny.yaml", "--set", step]
    words = ["plan", recipe, *given, "--device", "cpu", "-q"]
    cli.main([str(word) for word in words], standalone_mode=False)


def data_targets(place: Path) -> dict[str, Target]:
    """A data set's YAML, a label file, COCO annotations and pictures of several kinds."""
    data, extra = place / "data", place / "pictures"
    shutil.copytree(data, extra)
    picture = cv2.imread(str(data / "images" / "000.png"))
    assert picture is not None
    labels = [(data / "labels" / f"{i:03}.txt").read_bytes() for i in range(2)]
    labels += [b"0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n1 0.2 0.2 0.4 0.4 0.3 0.5\n"]
    coco = place / "coco"
    shutil.copytree(data, coco)
    yaml = coco / "tiny.yaml"
    yaml.write_text(yaml.read_text() + "annotations: instances.json\n")
    for folder in (data, coco):
        (folder / "instances.json").write_bytes(instances(coco))
    found = {
        "data YAML": Target(
            "yaml",
            data / "x.yaml",
            [(data / "tiny.yaml").read_bytes(), yaml.read_bytes()],
            lambda: judged(data / "x.yaml"),
        ),
        "labels": Target("", extra / "labels" / "000.txt", labels, lambda: judged(extra / "tiny.yaml")),
        "COCO JSON": Target("json", coco / "instances.json", [instances(coco)], lambda: judged(yaml)),
    }
    for ending, flags in _PICTURES.items():
        file = place / ending / "images" / f"000.{ending.split('_')[0]}"
        shutil.copytree(data, place / ending)
        (place / ending / "images" / "000.png").unlink()
        content = cv2.imencode(file.suffix, picture, flags)[1].tobytes()
        found[ending] = _picture(file, content)
    return found


_PICTURES: dict[str, list[int]] = {
    "png": [],
    "jpg": [],
    "jpg_2": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "webp": [],
    "bmp": [],
    "tiff": [],
}


def _picture(file: Path, content: bytes) -> Target:
    yaml = file.parents[1] / "tiny.yaml"

    def run() -> None:
        judged(yaml)
        load_images([file], 64)

    return Target(file.suffix[1:], file, [content], run)


def instances(folder: Path) -> bytes:
    """The labels of a data set as COCO annotations."""
    truth = ground_truth_from_labels(
        read_split(load_dataset(str(folder.parent / "data" / "tiny.yaml")), "val").samples, NAMES
    )
    records = {"images": truth.images, "annotations": truth.annotations, "categories": truth.categories}
    return json.dumps(records).encode()


def judged(yaml: Path) -> None:
    """A data set as far as `evaluate` reads it before a network sees it."""
    split = read_split(load_dataset(str(yaml)), "val")
    make_evaluator(split, Evaluation(), torch.device("cpu"))
    for batch in load_batches(plan_batches(split.samples, 64, 4, 32), 64, "floor"):
        assert batch.images.shape[2] % 32 == 0


def ending(target: Target) -> str:
    """How an input ended, in a word or two; a finding begins with a !."""
    output, shown = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    faulthandler.dump_traceback_later(2 * WAIT, exit=True)  # code that is not Python's cannot be interrupted
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(output):
            target.run()
        result = "read"
    except CompressorError as error:
        result = error.diagnostics[0].code
        with contextlib.redirect_stderr(output):
            Console(color="never").error(error)
    except SystemExit as end:
        codes = [
            word for word in output.getvalue().split() if len(word) == 4 and word[1:].isdigit() and word[0].isupper()
        ]
        result = codes[0] if codes else f"!exit {end.code} without a code" if end.code else "read"
    except Hang:
        result = f"!more than {SECONDS} s"
    except BaseException as fault:
        result = f"!{type(fault).__name__}"
        output.write(traceback.format_exc())
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.cancel_dump_traceback_later()
    if result in ("E899", "E812") or "Traceback" in output.getvalue():
        result = f"!{result} {output.getvalue()[-1500:]}"
    elif (
        not "".join(output.getvalue().split()).isprintable()
        or max(map(len, output.getvalue().splitlines()), default=0) > 5000
    ):
        result = f"!a message of {len(output.getvalue()):,} characters: {output.getvalue()[:300]}"
    elif not "".join(shown.getvalue().split()).isprintable():
        result = f"!a control character in {shown.getvalue()[:300]!r}"
    elif result.startswith("!"):
        result += f" {output.getvalue()[-1500:]}"
    return result


@dataclass
class Most:
    """The largest of a kind: CPU seconds of an input, and MB that the resident memory grew by while it was read."""

    seconds: float = 0
    megabytes: float = 0


def fuzz(place: Path, options: argparse.Namespace) -> tuple[Counter[str], Counter[str], list[str], dict[str, Most]]:
    """Change, read and note; counts by kind of input and by how it ended, the findings, and the largest by kind."""
    kinds = targets(place, options.checkpoint)
    if options.graphs:
        kinds |= graph_targets(place)
    chosen = [name for name in kinds if not options.only or name in options.only.split(",")]
    tried: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    findings: list[str] = []
    for name in chosen:
        for seed in kinds[name].seeds:
            kinds[name].file.parent.mkdir(exist_ok=True)
            kinds[name].file.write_bytes(seed)
            result = ending(replace(kinds[name], run=kinds[name].inspect or kinds[name].run))
            assert result == "read", f"{name}: an unchanged file ends in {result}"
    start = time.monotonic()
    most = {name: Most() for name in chosen}
    _limit_memory()
    for index in range(options.first, options.first + options.count):
        if options.seconds and time.monotonic() - start > options.seconds:
            break
        name = chosen[index % len(chosen)]
        target, random = kinds[name], Random(f"{options.seed} {index}")
        seed = random.choice(target.seeds)
        content = target.make(random) if target.make else mutated(seed, target.kind, random, target.seeds)
        target.file.write_bytes(content)
        clock, worked = time.monotonic(), _cpu_seconds()
        before = _start_peak()
        result = ending(target)
        most[name].seconds = max(most[name].seconds, _cpu_seconds() - worked)
        most[name].megabytes = max(most[name].megabytes, _status_mb("VmHWM") - before)
        tried[name] += 1
        ends[f"{name}: {result.split()[0]}"] += 1
        if result.startswith("!"):
            options.findings.mkdir(parents=True, exist_ok=True)
            kept = options.findings / f"{name.replace(' ', '_')}_{options.seed}_{index}{target.file.suffix}"
            kept.write_bytes(content)
            findings.append(f"{name}, --seed {options.seed} --first {index} --count 1: {result}\n  kept as {kept}")
            print(findings[-1], file=sys.stderr)
        elif time.monotonic() - clock > 5:
            print(f"{name} {index}: {time.monotonic() - clock:.1f} s", file=sys.stderr)
        target.file.write_bytes(seed)
    return tried, ends, findings, most


def _cpu_seconds() -> float:
    """Of this process and of those that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _start_peak() -> float:
    """Resident memory of this process in MB; its peak starts anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def _expire(_signal: int, _frame: FrameType | None) -> None:
    raise Hang


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="inputs")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first input")
    parser.add_argument("--only", help="kinds of input, such as recipe,table")
    parser.add_argument("--checkpoint", type=Path, help="a real .pt to change; a small one is made otherwise")
    parser.add_argument("--graphs", action="store_true", help="also change exported graphs, and let runtimes open them")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder of inputs that ended badly")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _expire)
    signal.signal(signal.SIGPROF, _expire)
    warnings.simplefilter("error")
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        tried, ends, findings, most = fuzz(Path(folder).resolve(), options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, peak {peak:,.0f} MB")
    print(f"{sum(tried.values()):,} inputs in {time.monotonic() - start:.0f} s, {len(findings)} findings")
    for name, count in sorted(tried.items()):
        told = sorted((end.split(": ")[1], n) for end, n in ends.items() if end.startswith(f"{name}: "))
        print(f"  {name:<15} {count:>6}  {', '.join(f'{end} {n}' for end, n in told)}")
    for name, each in sorted(most.items()):
        print(f"  most of {name}: {each.seconds:.1f} CPU s, {each.megabytes:,.0f} MB more")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
