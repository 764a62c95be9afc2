"""Whatever ends a command, nothing half-written stands where a whole thing would, and it goes on to the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from compressor.cli.main import cli, main
from compressor.errors import OutputError
from compressor.files.store import Files, Kept, StepName, Steps, titles
from compressor.files.writing import claimed, recover
from compressor.models.yolov5 import describe
from compressor.progress import Silent
from compressor.recipe.load import load_recipe
from compressor.recipe.overrides import parse_set
from compressor.results.run import load_run
from compressor.run import disk_space as room
from compressor.run import report as run_report
from compressor.run import search as budget
from compressor.run import stages
from compressor.run.folder import steps_folder, unfinished_place
from compressor.run.job import open_job
from compressor.run.pipeline import run
from compressor.run.readiness import Options
from trials.commands import FORKS, compressor
from trials.kills import COMMANDS, QUICK, FullDisk, Trials, make_inputs, timeless

pytestmark = pytest.mark.skipif(not FORKS, reason="commands are killed where they are forked")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kills") / "inputs"
    make_inputs(place)
    return place


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes longest and is kept nowhere: pictures, and the finer steps of a search."""
    monkeypatch.setattr(run_report, "pictures", lambda _: ())
    monkeypatch.setattr(stages, "examples_png", lambda *_: None)
    monkeypatch.setattr(describe, "count_gflops", lambda _: 0.0)
    monkeypatch.setattr(budget, "AP_STEPS", 4)


@pytest.fixture
def place(inputs: Path, tmp_path: Path) -> Path:
    """The inputs, to be read only, in a folder to write into."""
    for each in inputs.iterdir():
        (tmp_path / each.name).symlink_to(each)
    return tmp_path


def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    trials = Trials(tmp_path, seed=1)
    kills = 0
    for _ in range(6):
        kills += trials.kill("apply without figures") if kills < 2 else 0
    assert kills >= 2, trials.counts


class StoppedError(Exception):
    """Stands for a crash."""


class StopAt(Silent):
    """Crashes when a step begins whose title begins so."""

    def __init__(self, title: str | None) -> None:
        self.title = title
        self.seen: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._look(title)
        yield

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
        self._look(title)
        yield lambda _done, _total: None

    def _look(self, title: str) -> None:
        self.seen.append(title)
        if self.title and title.startswith(self.title) and ": kept" not in title:
            raise StoppedError


CRASHES = {  # as the step begins, with what is kept by then
    "evaluate dense on": ["evaluate before"],
    "evaluate 75 % on 3": ["evaluate before", "search"],
    "save model": ["evaluate before", "search"],
    "measure sizes": ["evaluate before", "search", "modified model"],
    "export": ["evaluate before", "search", "modified model", "evaluate after"],
    "report": ["evaluate before", "search", "modified model", "evaluate after", "export model_dense.safetensors"],
}


@pytest.mark.usefixtures("light")
def test_every_finished_step_is_kept_and_none_is_done_twice(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    recipe, out = load_recipe(Path("r.yaml")), tmp_path / "out"
    run(recipe, Options(tmp_path / "whole"), Silent())
    seen: list[str] = []
    for title, kept in CRASHES.items():
        stop = StopAt(title)
        with pytest.raises(StoppedError):
            run(recipe, Options(out, resume=True), stop)
        seen += stop.seen[:-1]
        assert titles(steps_folder(out)) == kept
        assert not out.exists()
        assert [path.name for path in unfinished_place(out).iterdir()] == ["steps"]
    last = StopAt(None)
    run(recipe, Options(out, resume=True), last)
    assert [each for each in last.seen if each.endswith(": kept")] == [f"{each}: kept" for each in CRASHES["report"]]
    judged = [each for each in (*seen, *last.seen) if each.startswith("evaluate") and ": kept" not in each]
    assert len(judged) == len(set(judged))
    assert timeless(out) == timeless(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


@pytest.mark.usefixtures("light")
def test_what_was_kept_of_other_input_is_done_again_and_damage_is_nothing(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    out = tmp_path / "out"
    plain = load_recipe(
        Path("r.yaml"), (parse_set("modifiers.0.sparsity=0.5"), parse_set("modifiers.1.method=moments"))
    )
    with pytest.raises(StoppedError):
        run(plain, Options(out), StopAt("report"))
    other, again = load_recipe(Path("earlier.yaml")), StopAt("report")
    with pytest.raises(StoppedError):
        run(other, Options(out, resume=True), again)
    told = [each for each in again.seen if ": " in each and not each.startswith("repair")]
    assert told == [
        "evaluate before: kept",
        *(f"{step}: again, of other input" for step in ("modified model", "evaluate after")),
        "export model_dense.safetensors: again, of other input",
    ]
    for file in steps_folder(out).rglob("*"):
        if file.is_file() and file.name != "sha256.json":
            file.write_bytes(file.read_bytes()[:-1])
    run(other, Options(out, resume=True), StopAt(None))
    run(other, Options(tmp_path / "whole"), Silent())
    assert timeless(out) == timeless(tmp_path / "whole")


def test_without_resume_nothing_kept_is_taken_and_it_is_told(place: Path) -> None:
    folder = unfinished_place(place / "out") / "steps" / "evaluate_before"
    Kept(folder).keep("0" * 32, {"x": b"x"})
    done = compressor(*QUICK, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "an unfinished run is here, which --resume goes on with; this one starts anew" in done.stderr
    assert load_run(place / "out").command == f"compressor {' '.join(QUICK)}"
    assert not unfinished_place(place / "out").exists()


@pytest.mark.usefixtures("light", "handlers")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_exit_code_and_the_way_to_go_on(
    place: Path, number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep, words = Steps.keep, ["apply", "r.yaml", "--output", "out"]

    def then_signal(steps: Steps, title: StepName, key: str, files: Files) -> None:
        keep(steps, title, key, files)
        os.kill(os.getpid(), number)

    monkeypatch.chdir(place)
    monkeypatch.setattr(Steps, "keep", then_signal)
    monkeypatch.setattr(sys, "argv", ["compressor", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    told = capsys.readouterr().err
    assert "interrupted; kept are: evaluate before. To go on: compressor apply r.yaml --output out --resume" in told
    assert [path.name for path in place.glob(".*")] == [".out.unfinished"]


@pytest.mark.usefixtures("light")
def test_a_disk_that_is_full_at_any_write_costs_only_what_was_being_written(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    recipe, out, number = load_recipe(Path("earlier.yaml")), tmp_path / "out", 0
    run(recipe, Options(tmp_path / "whole", evaluate=False), Silent())
    while not out.exists():
        number += 1
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", FullDisk(number).bind())
            try:
                run(recipe, Options(out, evaluate=False), Silent())
            except OutputError as fault:
                assert fault.diagnostics[0].code == "O602"
                assert "No space left" in fault.diagnostics[0].message
                assert not out.exists()
                assert not list(tmp_path.rglob("*.partial"))
    assert number > 5
    assert timeless(out) == timeless(tmp_path / "whole")


def test_a_file_that_may_not_grow_is_told_and_the_rest_is_as_it_was(place: Path) -> None:
    """As with a quota: 20 kB may be written to a file, and the model has more."""
    done = compressor(*QUICK, cwd=place, file_bytes=20_000)
    assert (done.returncode, "out: O602 cannot write here: File too large" in done.stderr) == (2, True), done.stderr
    assert not list(place.glob(".*"))
    assert not (place / "out").exists()


def test_too_little_room_is_told_before_anything_is_judged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    stop = StopAt("evaluate")
    with pytest.raises(OutputError, match=r"O605 the run needs about \d\.\d{3} MB of the disk, and 1\.000 MB are free"):
        run(load_recipe(Path("r.yaml")), Options(place / "out"), stop)
    assert not list(place.glob(".*"))


@pytest.mark.parametrize("kept_bytes", [0, 1_000])
def test_room_is_for_every_model_twice_less_what_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.chdir(place)
    job, output, kept = open_job(load_recipe(Path("r.yaml")), Silent()), Path("out"), Path("kept")
    assert len(job.recipe.exports) == 1
    (kept / "evaluate before").mkdir(parents=True)
    (kept / "evaluate before" / "x").write_bytes(bytes(kept_bytes))
    model_bytes = budget.dense_bytes(job)
    assert 2 * model_bytes > kept_bytes
    needed = 2 * 2 * model_bytes - kept_bytes + 4_000_000  # the model and its export, twice; and the pages

    def check(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        room.check_room(job, output, kept)

    check(needed)
    with pytest.raises(OutputError, match="O605") as error:
        check(needed - 1)
    assert error.value.diagnostics[0].path == str(place)
    (kept / "search").write_bytes(bytes(4 * model_bytes))  # more than the models take is no room for the pages
    check(4_000_000)
    with pytest.raises(OutputError, match="O605"):
        check(3_999_999)


@pytest.mark.parametrize("kind", ["apply", "sweep", "sensitivity"])
def test_a_second_run_is_refused_while_the_first_holds_the_lock(place: Path, kind: str) -> None:
    output = place / "out" / "t.json" if kind == "sensitivity" else place / "out"
    with claimed(output):
        before = sorted(place.rglob("*"))
        done = compressor(*COMMANDS[kind], cwd=place)
        assert (done.returncode, "O604 another compressor is writing here" in done.stderr) == (2, True), done.stderr
        assert sorted(place.rglob("*")) == before
    assert not list(place.rglob(".*.lock"))


HOLDS = """
import sys, time
from pathlib import Path
from compressor.files.writing import claimed
with claimed(Path("out")):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_crash_frees_the_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDS], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(OutputError, match="O604"), claimed(tmp_path / "out"):
            pass
        process.kill()
    with claimed(tmp_path / "out"):
        assert (tmp_path / ".out.lock").exists()
    assert not list(tmp_path.iterdir())


REPLACES = """
import os, shutil, signal, sys
from pathlib import Path
from compressor.files.writing import publish, staged
rename, left = Path.rename, [int(sys.argv[1])]
def stop(*arguments, **_):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(*arguments)
Path.rename = shutil.rmtree = stop
with staged(Path("out"), inside=Path("beside")) as folder:
    (folder / "later").touch()
    publish(folder, Path("out"))
"""


@pytest.mark.parametrize(("killed_at", "stays"), [(1, "earlier"), (2, "earlier"), (3, "later")])
def test_killed_between_two_renames_the_earlier_output_comes_back(tmp_path: Path, killed_at: int, stays: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "earlier").touch()
    done = subprocess.run([sys.executable, "-c", REPLACES, str(killed_at)], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    recover(tmp_path / "out", tmp_path / "beside")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [stays]
    assert not list((tmp_path / "beside").iterdir())


@pytest.mark.usefixtures("handlers")
def test_a_measurement_killed_at_the_very_end_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, out, unlink = (*COMMANDS["sensitivity"], "--no-repaired"), place / "out", Path.unlink

    def measure(*more: str, killed: bool = False) -> Result:
        def stop(path: Path, *rest: Any, **options: Any) -> None:
            if killed and path.name.endswith(".jsonl"):
                raise KeyboardInterrupt
            unlink(path, *rest, **options)

        monkeypatch.setattr(Path, "unlink", stop)
        return CliRunner().invoke(cli, [*words, *more])

    monkeypatch.chdir(place)
    assert measure(killed=True).exit_code == 130
    notes = (out / "t.json.partial.jsonl").read_bytes()
    whole = {name: content for name, content in timeless(out).items() if not name.endswith(".jsonl")}
    for name in ("emitted.yaml", "t.png"):
        (out / name).unlink()
    done = measure()
    assert (done.exit_code, timeless(out)) == (0, whole), done.stderr
    again = measure()
    assert (again.exit_code, "t.json: O601" in again.stderr) == (2, True)
    (out / "t.json.partial.jsonl").write_bytes(notes)
    refused = measure("--score", "raw_magnitude")
    assert (refused.exit_code, "t.json: O601" in refused.stderr) == (2, True)
    assert (out / "t.json").read_bytes() == whole["t.json"]
