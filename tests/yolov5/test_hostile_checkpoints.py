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
from compressor.yolov5.checkpoint import read_checkpoint
from compressor.yolov5.containers import open_container
from tests.yolov5.test_checkpoint import LookAlikes, fault, look_alikes, save, tiny

__all__ = ["look_alikes"]  # the fixture

LEGACY_HEAD = b"".join(
    pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {}})
)
PROTO, STOP, MARK, TUPLE, REDUCE, NEWOBJ, BUILD, BINPERSID = b"\x80\x02", b".", b"(", b"t", b"R", b"\x81", b"b", b"Q"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def named(reference: str) -> bytes:
    module, _, name = reference.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def call(reference: str, *arguments: bytes) -> bytes:
    return named(reference) + tuple_of(*arguments) + REDUCE


def storage(numel: int, key: str = "0", kind: str = "torch.FloatStorage") -> bytes:
    return tuple_of(text("storage"), named(kind), text(key), text("cpu"), number(numel)) + BINPERSID


def tensor(stored: bytes, offset: int, shape: list[int], stride: list[int]) -> bytes:
    sizes = (tuple_of(*(number(n) for n in shape)), tuple_of(*(number(n) for n in stride)))
    return call("torch._utils._rebuild_tensor_v2", stored, number(offset), *sizes, b"\x89", b"N")


def write(path: Path, body: bytes, container: str) -> Path:
    """A container around a pickle that leaves `body`'s object under the key `model`."""
    whole = PROTO + b"}" + text("model") + body + b"s" + STOP
    if container == "legacy":
        path.write_bytes(LEGACY_HEAD + whole + pickle.dumps([], 2))
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", whole)
        archive.writestr("x/data/0", bytes(16))
    return path


COMMAND = "touch ran"  # the working folder is the test's own

REFUSED = {
    "os.system": call("os.system", text(COMMAND)),
    "posix.system": call("posix.system", text(COMMAND)),
    "nt.system": call("nt.system", text(COMMAND)),
    "subprocess.Popen": call("subprocess.Popen", tuple_of(text("touch"), text("ran"))),
    "subprocess.call": call("subprocess.call", tuple_of(text("touch"), text("ran"))),
    "builtins.eval": call("builtins.eval", text(f"__import__('os').system('{COMMAND}')")),
    "builtins.exec": call("builtins.exec", text(f"import os; os.system('{COMMAND}')")),
    "__builtin__.eval": call("__builtin__.eval", text(f"__import__('os').system('{COMMAND}')")),
    "builtins.__import__": call("builtins.__import__", text("os")),
    "builtins.open": call("builtins.open", text("ran"), text("w")),
    "torch.load": call("torch.load", text("other.pt")),
    "torch.hub.load": call("torch.hub.load", text("a/b"), text("c")),
    "torch.storage._load_from_bytes": call("torch.storage._load_from_bytes", text("x")),
    "importlib.import_module": call("importlib.import_module", text("antigravity")),
    "operator.attrgetter": call("operator.attrgetter", text("system")),
    "functools.partial": call("functools.partial", named("torch.Size")),
    "compressor.yolov5.checkpoint.read_checkpoint": named("compressor.yolov5.checkpoint.read_checkpoint"),
    "builtins.getattr": call("builtins.getattr", named("torch.Size"), text("__class__")),
    "__builtin__.getattr": call("__builtin__.getattr", b"}", text("forward")),
    "numpy.load": call("numpy.load", text("x.npy")),
}
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


CONV = named("models.common.Conv") + b")" + NEWOBJ
INSTRUCTIONS = {
    "INST": MARK + text(COMMAND) + b"ios\nsystem\n",
    "OBJ": MARK + named("models.common.Conv") + b"o",
    "NEWOBJ_EX": named("models.common.Conv") + b")}" + b"\x92",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93",
    "EXT1": b"\x82\x01",
    "PERSID": b"P0\n",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 8) + bytes(8),
    "BINBYTES8": b"\x8e" + struct.pack("<Q", 8) + bytes(8),
    "FRAME": b"\x95" + struct.pack("<Q", 2**62),
    "NEXT_BUFFER": b"\x97",
    "PROTO": b"\x80\x05",
    "INT": b"I1\n",
    "DUP": b"N2",
}


@CONTAINERS
@pytest.mark.parametrize("instruction", INSTRUCTIONS)
def test_instructions_that_torch_never_writes(tmp_path: Path, instruction: str, container: str) -> None:
    message = fault(write(tmp_path / "x.pt", INSTRUCTIONS[instruction], container))
    assert message.startswith("W303 it uses the pickle instruction") and instruction in message
    assert not Path("ran").exists()


ABUSES = {
    "BUILD on a function": (named("torch.Size") + b"}" + BUILD, "W303 it sets attributes"),
    "BUILD with slots on a function": (
        named("collections.OrderedDict") + tuple_of(b"N", b"}" + text("call") + named("torch.Size") + b"s") + BUILD,
        "W303 it sets attributes",
    ),
    "BUILD on a class": (named("models.common.Conv") + b"}" + BUILD, "W303 it sets attributes"),
    "BUILD on a storage type": (named("torch.FloatStorage") + b"}" + BUILD, "W303 it sets attributes"),
    "BUILD on a tensor": (tensor(storage(4), 0, [4], [1]) + b"}" + BUILD, "W303 it sets attributes"),
    "BUILD on a list": (b"]}" + BUILD, "W303 it sets attributes"),
    "REDUCE of an object": (CONV + b")" + REDUCE, "W303 it calls something"),
    "REDUCE of a word": (text("os.system") + b")" + REDUCE, "W303 it calls something"),
    "REDUCE of a storage type": (named("torch.FloatStorage") + b")" + REDUCE, "W303 it calls something"),
    "REDUCE of a dtype": (call("torch.float16"), "W303 it calls `torch.float16`"),
    "REDUCE without arguments": (named("torch.Size") + b"N" + REDUCE, "W303 it calls something"),
    "a rebuilt tensor of words": (
        call("torch._utils._rebuild_tensor_v2", text("x"), text("y"), text("z"), text("w")),
        "W303 it calls `torch._utils._rebuild_tensor_v2`",
    ),
    "a parameter of a word": (call("torch._utils._rebuild_parameter", text("x")), "W303 it calls"),
    "another codec": (call("_codecs.encode", text("x"), text("zip")), "W303 it calls `_codecs.encode`"),
    "a set of a number": (call("builtins.set", number(2**40)), "W303 it calls `builtins.set`"),
    "the state of a model": (call("models.yolo.Model", text("x.yaml")), "W302"),
    "a persistent id of one word": (text("storage") + BINPERSID, "W303 it refers to outside data"),
    "a persistent id that is too short": (tuple_of(text("storage")) + BINPERSID, "W303 it refers to outside data"),
    "a persistent module that is a word": (
        tuple_of(text("module"), text("os"), b"N", b"N") + BINPERSID,
        "W303 it refers to outside data",
    ),
    "a storage of a refused type": (storage(4, kind="torch.ComplexFloatStorage"), "W303 it refers to `torch.Complex"),
    "a storage of negative length": (storage(-1), "W302"),
    "a storage of two lengths": (tuple_of(storage(4), storage(5)), "W302"),
    "a tensor beyond its storage": (tensor(storage(4), 0, [5], [1]), "W303 it calls `torch._utils._rebuild_tensor_v2`"),
    "a tensor with a far offset": (tensor(storage(4), 4, [1], [1]), "W303 it calls"),
    "a tensor with a negative offset": (tensor(storage(4), -1, [1], [1]), "W303 it calls"),
    "a tensor with a long stride": (tensor(storage(4), 0, [2], [4]), "W303 it calls"),
    "a tensor with a negative stride": (tensor(storage(4), 3, [2], [-1]), "W303 it calls"),
    "a tensor repeated by stride 0": (tensor(storage(4), 0, [2**40], [0]), "W303 it calls"),
    "a tensor of too many axes": (tensor(storage(4), 0, [1] * 99, [1] * 99), "W303 it calls"),
    "an unhashable key": (b"}]Ns", "W302"),
    "a key that would collide": (b"}" + number(2**61 - 1) + b"Ns", "W302"),
    "a memo that was never filled": (b"h\x09", "W302"),
    "an empty stack": (b"0000", "W302"),
    "a mark that was never set": (TUPLE, "W302"),
    "items set on a list": (b"]" + text("a") + b"Ns", "W302"),
    "items appended to an object": (CONV + b"Na", "W302"),
    "a text longer than the file": (b"X\xff\xff\xff\x7f", "W302"),
    "bytes longer than the memory": (b"\x8e" + struct.pack("<Q", 2**60), "W302"),
    "a bytearray longer than the memory": (b"\x96" + struct.pack("<Q", 2**60), "W302"),
    "a memo of two thousand million": (b"Nr\xff\xff\xff\x7f", "W302"),
    "an unknown instruction": (b"\xff", "W302"),
    "a module without state": (CONV, "W302"),
}


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
    (_doubling_epsilon, "TypeError"),
]


@pytest.mark.parametrize(("change", "expected"), TREES)
def test_trees_without_end(
    tmp_path: Path, look_alikes: LookAlikes, change: Callable[[Any], None], expected: str
) -> None:
    root = look_alikes.root(tiny())
    change(root)
    assert expected in fault(save(tmp_path / "x.pt", root))


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
    assert "W302" in endings and endings <= {"read", *(f"W3{code:02}" for code in range(2, 12))}
