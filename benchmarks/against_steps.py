"""The steps that `against.py` times, each in a process of its own: not a script to run by hand.

`python against_steps.py STEP` prepares the step, then runs it once for every line it reads, and answers each with one
line of JSON: CPU seconds (its own and its children's), seconds on the clock, and a digest of the answer. Whatever a
step takes from `compressor` is imported in the step, so that a version without it fails at that step alone.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from side_by_side import Work

COMPRESSOR = (sys.executable, "-m", "compressor")
RECIPES = Path("recipes")
LEAST_CPU_S = 0.05  # of a run; shorter work is repeated
SCENES = 60
IMAGES, OBJECTS, CATEGORIES = 300, 8, 20


def digest(answer: Any) -> str:
    """Of bytes, text and numbers, and of lists of them."""
    data = answer if isinstance(answer, bytes) else repr(answer).encode()
    return hashlib.sha256(data).hexdigest()


def command(*arguments: str) -> Work:
    return Work(partial(_output, arguments, dict(os.environ)))


def _output(arguments: tuple[str, ...], environment: dict[str, str]) -> str:
    done = subprocess.run((*COMPRESSOR, *arguments), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when this process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return folder


class _Caches:
    """Folders that the caches of a command are in; emptied before a run where the run is to be the first."""

    def __init__(self) -> None:
        self._folder = _folder()
        self.drawn, self.loops = "drawn", "loops"

    def empty(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(Path(self._folder.name) / name, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        folder = Path(self._folder.name)
        named = {"COMPRESSOR_CACHE": folder / self.drawn, "NUMBA_CACHE_DIR": folder / self.loops, "HOME": folder}
        return os.environ | {key: str(path) for key, path in named.items()}

    @property
    def output(self) -> Path:
        return Path(self._folder.name) / "run"


def demo(emptied: tuple[str, ...]) -> Work:
    caches = _Caches()
    arguments = ("apply", str(RECIPES / "demo.yaml"), "--output", str(caches.output), "--force")

    def figures_and_file(_: str) -> list[Any]:
        found = json.loads((caches.output / "run.json").read_text())
        parts = ("metrics", "resampled", "precision_by_recall")
        figures = [found[side][part] for side in ("baseline", "compressed") for part in parts]
        return [figures, digest((caches.output / "model.safetensors").read_bytes())]

    return Work(lambda: _output(arguments, caches.environment), lambda: caches.empty(*emptied), figures_and_file)


def first_evaluation() -> Work:
    caches = _Caches()
    arguments = ("evaluate", "yolov5_shapes.safetensors", "--data", "shapes.yaml", "--json")
    return Work(
        lambda: _output(arguments, caches.environment),
        lambda: caches.empty(caches.loops),
        lambda output: json.loads(output)["metrics"],
    )


def drawing() -> Work:
    from compressor.data.shapes import draw_scene, label_text  # noqa: PLC0415

    def run() -> Any:
        scenes = [draw_scene(seed) for seed in range(SCENES)]
        return scenes, [label_text(scene) for scene in scenes]

    return Work(run, answer=lambda made: b"".join(each.image.tobytes() for each in made[0]) + repr(made[1]).encode())


def pruning(allocation: Any) -> Work:
    from speed_pruning import ours  # noqa: PLC0415

    return ours("m", allocation)


def coded(writing: bool) -> Work:
    from codec import read, written  # noqa: PLC0415
    from sizes import pruned  # noqa: PLC0415

    from compressor.artifact.save import dense_tensors, round_to_dtype  # noqa: PLC0415
    from compressor.models.yolov5.architecture import stock_architecture  # noqa: PLC0415
    from compressor.models.yolov5.build import build  # noqa: PLC0415
    from compressor.models.yolov5.fuse import fuse  # noqa: PLC0415

    torch.manual_seed(0)
    model = fuse(build(stock_architecture("v6", "m")).eval().requires_grad_(False))
    pruned(model, 0.5)
    round_to_dtype(model, "float16")
    dense = dense_tensors(model, "float16")
    data, shapes = written(dense), {name: tuple(tensor.shape) for name, tensor in dense.items()}
    if writing:
        return Work(lambda: written(dense), answer=lambda made: [len(made), _tensors(read(made, shapes))])
    return Work(lambda: read(data, shapes), answer=_tensors)


def _tensors(found: dict[str, torch.Tensor]) -> bytes:
    return b"".join(found[name].contiguous().numpy().tobytes() for name in sorted(found))


def loading() -> Work:
    from speed_running import digest_of, load_by_us, model_of  # noqa: PLC0415

    from compressor.export.checkpoint import checkpoint_bytes  # noqa: PLC0415

    folder = Path(_folder().name)
    (folder / "model.pt").write_bytes(checkpoint_bytes(model_of("m", None), torch.float16))
    return load_by_us(folder / "model.pt")._replace(answer=digest_of)


def inference() -> Work:
    from speed_running import run_by_us  # noqa: PLC0415

    return run_by_us("n", None, "float32")._replace(answer=lambda found: found.numpy().tobytes())


def suppression(whole: bool) -> Work:
    from speed_judging import detect_by_us, suppress_by_us  # noqa: PLC0415

    return (detect_by_us if whole else suppress_by_us)(10_000)._replace(answer=lambda found: found.tobytes())


def coco() -> Work:
    import numpy as np  # noqa: PLC0415
    from speed_judging import ours  # noqa: PLC0415

    from compressor.evaluation.coco import COCO_CATEGORY_IDS  # noqa: PLC0415

    random = np.random.RandomState(0)
    boxes = (random.random_sample((IMAGES * OBJECTS, 4)) * (400, 300, 150, 150) + 5).round(2)
    numbers = random.randint(0, CATEGORIES, len(boxes))
    annotations = [
        {"id": i + 1, "image_id": i // OBJECTS + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        | {"category_id": COCO_CATEGORY_IDS[number]}
        for i, (box, number) in enumerate(zip(boxes.tolist(), numbers.tolist(), strict=True))
    ]
    images = [{"id": i + 1, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(IMAGES)]
    categories = [{"id": number, "name": str(number)} for number in COCO_CATEGORY_IDS]
    file = Path(_folder().name) / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return ours(file)


STEPS: dict[str, Callable[[], Work]] = {
    "help": lambda: command("--help"),
    "check": lambda: command("check", *sorted(map(str, RECIPES.glob("*.yaml")))),
    "demo-new": partial(demo, ("drawn", "loops", "run")),
    "demo": partial(demo, ()),
    "evaluate-first": first_evaluation,
    "draw": drawing,
    "global": partial(pruning, "global"),
    "uniform": partial(pruning, "uniform"),
    "lamp": partial(pruning, "lamp"),
    "write": partial(coded, writing=True),
    "read": partial(coded, writing=False),
    "load": loading,
    "inference": inference,
    "suppress": partial(suppression, whole=False),
    "detect": partial(suppression, whole=True),
    "coco": coco,
}


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    torch.set_num_threads(1)
    work = STEPS[sys.argv[1]]()
    for _ in sys.stdin:
        cpu_s, wall_s, times = 0.0, 0.0, 0
        while cpu_s < LEAST_CPU_S:
            work.prepare()
            cpu, wall = _cpu(), time.perf_counter()
            result = work.run()
            cpu_s, wall_s, times = cpu_s + _cpu() - cpu, wall_s + time.perf_counter() - wall, times + 1
        answer = digest(work.answer(result))
        print(json.dumps([cpu_s / times, wall_s / times, answer]), file=answers, flush=True)


if __name__ == "__main__":
    main()
