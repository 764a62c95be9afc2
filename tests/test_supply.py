"""What compressor takes in and lets run: no network unasked, no shell, no code from files, no unpinned package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "compressor").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

IMPORTS = """
import sys
from pathlib import Path
from trials.watched import watch
watch(Path(sys.argv[1]))
import pkgutil
from importlib import import_module
import compressor
names = [each.name for each in pkgutil.walk_packages(compressor.__path__, "compressor.")]
for name in names:
    import_module(name)
print(len(names))
with open(sys.argv[1], "a") as log:
    print("imported", file=log)
import socket, subprocess
subprocess.run([sys.executable, "--version"], stdout=subprocess.DEVNULL)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
"""


def test_importing_every_module_leaves_the_network_alone_and_starts_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", IMPORTS, str(log)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(SOURCES) - 1  # all but compressor/__init__.py itself
    events = [line.split()[0] for line in log.read_text().splitlines()]
    assert events == ["imported", "subprocess.Popen", "socket.connect"]  # the last two show that the watching works


FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "input", "breakpoint"),
    *("os.system", "os.popen", "os.startfile", "os.fork", "os.forkpty", "pty.spawn", "webbrowser.open"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "dill.load"),
    *("joblib.load", "runpy.run_path", "runpy.run_module", "code.interact", "tempfile.mktemp"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all"),
    *("torch.load", "torch.hub.load", "pandas.read_pickle", "numpy.fromregex", "urllib.request.urlopen"),
    *("urllib.request.urlretrieve", "urllib.request.build_opener", "requests.get", "jinja2.Environment"),
}
FOREIGN = {"subprocess", "multiprocessing", "ctypes", "cffi", "shelve", "marshal", "dill", "socket", "requests"}
ONLY_IN = {  # what is used in one place, for the reason beside it
    "pickle": "export/checkpoint.py",  # writes; a test below holds that it reads nothing
    "urllib.request": "data/fetch.py",  # the one download
    "urllib.error": "data/fetch.py",
    "http": "data/fetch.py",
    "torch.jit.load": "export/script.py",  # TorchScript is a program: SECURITY.md says so
    "importlib.import_module": "export/extras.py",  # of names that stand in it
    "numpy.load": "run/baselines.py",  # with allow_pickle=False
}


def names_of(tree: ast.Module) -> dict[str, str]:
    """The full name behind every name that a module imports."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return known


def full_name(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := full_name(node.value, known)):
        return f"{before}.{node.attr}"
    return None


def used(source: str) -> Iterator[tuple[str, ast.AST]]:
    """Every module imported and every name or attribute mentioned, in full, with the call if it is called."""
    tree = ast.parse(source)
    known = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)
        elif isinstance(node, ast.Call | ast.Name | ast.Attribute):
            name = full_name(node.func if isinstance(node, ast.Call) else node, known)
            yield from [(name, node)] if name else ()


def faults_of(source: str, place: str) -> list[str]:
    faults = []
    for name, node in used(source):
        parts = name.split(".")
        if name in FORBIDDEN or parts[0] in FOREIGN or name.startswith(("os.exec", "os.spawn", "os.posix_spawn")):
            faults.append(name)
        for kept, home in ONLY_IN.items():
            if (name == kept or name.startswith(f"{kept}.")) and place != home:
                faults.append(name)
        if parts[0] == "pickle" and parts[1:] not in ([], ["dump"], ["dumps"], ["Pickler"]):
            faults.append(name)
        if isinstance(node, ast.Call):
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if keywords.get("shell", "False") != "False" or keywords.get("weights_only", "True") != "True":
                faults.append(ast.unparse(node))
            if name == "numpy.load" and keywords.get("allow_pickle") != "False":
                faults.append(ast.unparse(node))
    return faults


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT / "compressor").as_posix())
def test_nothing_is_called_that_runs_what_it_is_given(file: Path) -> None:
    place = file.relative_to(ROOT / "compressor").as_posix()
    assert faults_of(file.read_text(encoding="utf-8"), place) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.system('x')",
        "from os import system as s\ns('x')",
        "import os as o\nrun = o.popen",
        "import os\nos.execvp('x', [])",
        "eval('1')",
        "run = exec",
        "import subprocess",
        "from subprocess import run",
        "import pickle",
        "from pickle import load",
        "import torch\ntorch.load('x', weights_only=False)",
        "import torch as t\nt.load('x')",
        "import torch\ntorch.jit.load('x')",
        "import yaml\nyaml.load(x, yaml.Loader)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "start(x, shell=True)",
        "from urllib.request import urlopen",
        "from jinja2 import Environment",
    ],
)
def test_the_search_finds_what_it_is_to_find(source: str) -> None:
    assert faults_of(source, "anywhere.py")


def test_the_pickle_module_reads_nothing_and_numpy_no_objects_even_where_they_are_used() -> None:
    assert faults_of("import pickle\npickle.loads(b'')", ONLY_IN["pickle"])
    assert faults_of("import numpy as np\nnp.load('x')", ONLY_IN["numpy.load"])
    for home in ONLY_IN.values():
        assert (ROOT / "compressor" / home).is_file()


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for."""
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values(), PROJECT["build-system"]["requires"]]
    return [Requirement(each) for group in groups for each in group]


def test_every_requirement_has_both_bounds() -> None:
    outside = [each for each in requirements() if each.name != "compressor"]
    assert len(outside) > 25
    for each in outside:
        operators = {specifier.operator for specifier in each.specifier}
        assert operators in ({">=", "<"}, {"=="}), str(each)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pinned.items()}


def needed_by(package: str, extras: tuple[str, ...]) -> set[str]:
    """Everything that a package needs on this machine, at any depth."""
    found: set[tuple[str, str]] = set()
    ahead = [(canonicalize_name(package), extra) for extra in ("", *extras)]
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in metadata.requires(name) or []:
            each = Requirement(text)
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                ahead += [(canonicalize_name(each.name), inner) for inner in ("", *each.extras)]
    return {name for name, _ in found} - {canonicalize_name(package)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need packages of their own")
def test_everything_that_the_tests_need_is_pinned_and_nothing_else() -> None:
    needed = {name for name in needed_by("compressor", ("dev",)) if not re.match("cuda|nvidia|triton", name)}
    assert needed > {"torch", "numpy", "openvino", "hypothesis"}
    assert sorted(needed ^ set(pins())) == []


def test_what_is_pinned_is_within_the_bounds() -> None:
    pinned = pins()
    for each in requirements():
        if each.name not in ("compressor", "hatchling"):  # hatchling builds in a place of its own
            assert each.specifier.contains(pinned[canonicalize_name(each.name)]), str(each)
