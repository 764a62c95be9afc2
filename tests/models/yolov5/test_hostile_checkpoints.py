"""Files that try to run code, to read beyond their bytes, or to use up memory and time; none may succeed at any."""

from __future__ import annotations

import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compressor.errors import CheckpointError
from compressor.models.yolov5.checkpoint import read_checkpoint
from compressor.models.yolov5.containers import open_container
from tests.models.yolov5.hostile_pickles import (
    ABUSES,
    BINPERSID,
    COMMAND,
    INSTRUCTIONS,
    LEGACY_HEAD,
    PROTO,
    REFUSED,
    STOP,
    named,
    number,
    tensor,
    text,
    tuple_of,
    write,
)
from tests.models.yolov5.test_checkpoint import LookAlikes, fault, look_alikes, save, tiny

__all__ = ["look_alikes"]  # the fixture

CONTAINERS = pytest.mark.parametrize("container", ["zip", "legacy"])


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_sentinel_works() -> None:
    assert pickle.loads(PROTO + REFUSED["os.system"] + STOP) == 0
    assert Path("ran").exists()


@CONTAINERS
@pytest.mark.parametrize("reference", REFUSED)
def test_references_are_refused_by_name(tmp_path: Path, reference: str, container: str) -> None:
    message = fault(write(tmp_path / "x.pt", REFUSED[reference], container))
    assert message.startswith("W303") and f"`{reference}`" in message
    assert not Path("ran").exists()


@CONTAINERS
@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_instructions_that_torch_never_writes(tmp_path: Path, instruction: str, container: str) -> None:
    body, expected = INSTRUCTIONS[instruction]
    message = fault(write(tmp_path / "x.pt", body, container))
    assert message.startswith(expected) and (expected != "W302" or f"pickle instruction {instruction}" in message)
    assert not Path("ran").exists()


@CONTAINERS
@pytest.mark.parametrize("abuse", ABUSES)
def test_abuses_end_in_a_sentence(tmp_path: Path, abuse: str, container: str) -> None:
    body, expected = ABUSES[abuse]
    message = fault(write(tmp_path / "x.pt", body, container))
    assert message.startswith(expected), message


@CONTAINERS
def test_deep_nesting(tmp_path: Path, container: str) -> None:
    depth = 200_000
    for body in (b")" + b"\x85" * depth, b"]" * depth + b"a" * (depth - 1), b"(" * depth + b"t" * depth):
        assert fault(write(tmp_path / "x.pt", body, container)).startswith("W302")
    # Python's own unpickler overflows the C stack on this one and ends the process.
    assert fault(write(tmp_path / "x.pt", b"}" + b")" + b"\x85" * depth + b"Ns", container)).startswith("W302")


def test_storage_keys_of_an_old_file_are_words(tmp_path: Path) -> None:
    keys = PROTO + b"](" + b")" + b"\x85" * 200_000 + b"e" + STOP
    (tmp_path / "x.pt").write_bytes(LEGACY_HEAD + pickle.dumps({"model": None}, 2) + keys)
    assert "a storage has no proper name" in fault(tmp_path / "x.pt")


def test_a_view_of_an_old_storage_reads_its_own_elements(tmp_path: Path) -> None:
    view = tuple_of(text("1"), number(2), number(3))  # three elements from the third on
    stored = tuple_of(text("storage"), named("torch.ShortStorage"), text("0"), text("cuda:0"), number(6), view)
    body = tensor(stored + BINPERSID, 1, [2], [1])
    raw = struct.pack("<q6h", 6, *range(10, 16))
    (tmp_path / "x.pt").write_bytes(LEGACY_HEAD + PROTO + body + STOP + pickle.dumps(["0"], 2) + raw)
    with open_container(tmp_path / "x.pt") as container:
        assert container.array(container.root).tolist() == [13, 14]
    for bad in (tensor(stored + BINPERSID, 2, [2], [1]), body.replace(number(3), number(5))):
        (tmp_path / "x.pt").write_bytes(LEGACY_HEAD + PROTO + bad + STOP + pickle.dumps(["0"], 2) + raw)
        assert fault(tmp_path / "x.pt").startswith("W30")


class Payload:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (COMMAND,)


@pytest.mark.parametrize("place", ["opt", "ema", "optimizer", "names", "hook"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_payload_inside_a_working_checkpoint(
    tmp_path: Path, look_alikes: LookAlikes, place: str, legacy: bool
) -> None:
    root = look_alikes.root(tiny())
    if place == "names":
        root.names = Payload()  # type: ignore[assignment]  # what a hostile file does
    if place == "hook":
        root.get_submodule("model.1").__dict__["_forward_hooks"] = {0: Payload()}
    contents = {} if place in ("names", "hook") else {place: Payload()}
    message = fault(save(tmp_path / "x.pt", root, legacy=legacy, **contents))
    assert message.startswith("W303 it refers to `posix.system`")
    assert not Path("ran").exists()


def _loop(root: Any) -> None:
    root.model[2].register_module("loop", root.model)


def _many_paths(root: Any) -> None:
    level: nn.Module = nn.Identity()
    for _ in range(40):
        level = nn.Sequential(level, level)
    root.model.register_module("25", level)


def _endless_table(root: Any) -> None:
    root.yaml["backbone"].append(root.yaml["backbone"])


def _doubling_table(root: Any) -> None:
    root.yaml["backbone"][0] = doubled()


def _doubling_name(root: Any) -> None:
    root.names[0] = doubled()


def doubled() -> list[Any]:
    level: list[Any] = [1]
    for _ in range(60):
        level = [level, level]
    return level


def _overlapping(root: Any) -> None:
    large = torch.zeros(1_000_000)
    for index in range(100):
        root.register_buffer(f"extra{index}", large[:])


def _words_as_buffers(root: Any) -> None:
    root._buffers["x"] = "word"


def _modules_of_words(root: Any) -> None:
    root._modules["x"] = "word"


def _endless_name(root: Any) -> None:
    root._buffers["x" * 1000] = torch.zeros(1)


def _same_name_twice(root: Any) -> None:
    root._buffers["model.1.conv.weight"] = torch.zeros(1)


def _doubling_epsilon(root: Any) -> None:
    root.model[1].bn.eps = doubled()


def _endless_expansion(root: Any) -> None:
    root.model[1].bn.weight.data = torch.ones(1).expand(2**40)


def _endless_stride(root: Any) -> None:
    root.stride = torch.ones(1).expand(2**40)


TREES = [
    (_loop, "contain each other without end"),
    (_many_paths, "contain each other without end"),
    (_endless_table, "its layer table has no end"),
    (_doubling_table, "its layer table has no end"),
    (_doubling_name, "W307"),
    (_overlapping, "its tensors overlap"),
    (_words_as_buffers, "x is not one tensor"),
    (_modules_of_words, "x is not a module"),
    (_endless_name, "no proper name"),
    (_same_name_twice, "model.1.conv.weight is not one tensor"),
    (_doubling_epsilon, "W304 eps something else of model.1.bn"),
    (_endless_expansion, "its tensors overlap"),
    (_endless_stride, "W304 stride something else of the model"),
]


@pytest.mark.parametrize(("change", "expected"), TREES)
def test_trees_without_end(
    tmp_path: Path, look_alikes: LookAlikes, change: Callable[[Any], None], expected: str
) -> None:
    root = look_alikes.root(tiny())
    change(root)
    message = fault(save(tmp_path / "x.pt", root))  # apart: a failing assertion would print the tree
    assert expected in message


def rezip(source: Path, target: Path, change: Callable[[str, bytes], bytes], **options: Any) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_archives_that_are_not_what_they_say(tmp_path: Path, look_alikes: LookAlikes) -> None:
    good = save(tmp_path / "good.pt", look_alikes.root(tiny()))
    path = tmp_path / "x.pt"

    rezip(good, path, lambda name, content: content + bytes(40_000_000 * name.endswith("/data/0")), compression=8)
    assert "unpacks to far more than its own size" in fault(path)

    rezip(good, path, lambda name, content: content[:-4] if name.endswith("/data/0") else content)
    assert "bytes where" in fault(path)

    rezip(good, path, lambda name, content: b"big" if name.endswith("/byteorder") else content)
    assert "big-endian" in fault(path)

    path.write_bytes(good.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("good/data.pkl", b"")
    assert "two entries of the same name" in fault(path)

    content = bytearray(good.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the last directory entry
    path.write_bytes(content)
    assert "encrypted" in fault(path)

    path.write_bytes(good.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good/constants.pkl", b"")
    assert "TorchScript export" in fault(path)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("picture.png", b"")
    assert "no single data.pkl" in fault(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_random_damage_to_the_pickle_never_escapes(tmp_path: Path, look_alikes: LookAlikes, legacy: bool) -> None:
    good = save(tmp_path / "good.pt", look_alikes.root(tiny()), legacy=legacy)
    generator = random.Random(0)
    endings = set()

    def damage(name: str, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(generator.randint(1, 3) if name.endswith("data.pkl") else 0):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        return bytes(changed)

    for attempt in range(40):
        path = tmp_path / f"{attempt}.pt"
        if legacy:
            path.write_bytes(damage("data.pkl", good.read_bytes()[:150_000]) + good.read_bytes()[150_000:])
        else:
            rezip(good, path, damage)
        try:
            read_checkpoint(path)
            endings.add("read")
        except CheckpointError as error:
            endings.add(error.diagnostics[0].code)
    assert "W302" in endings and endings <= {"read", "W320", *(f"W3{code:02}" for code in range(2, 12))}
