"""Pickles as their authors would never let torch write them: their instructions, and tables of wrong ones."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

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
    "compressor.models.yolov5.checkpoint.read_checkpoint": named("compressor.models.yolov5.checkpoint.read_checkpoint"),
    "builtins.getattr": call("builtins.getattr", named("torch.Size"), text("__class__")),
    "__builtin__.getattr": call("__builtin__.getattr", b"}", text("forward")),
    "numpy.load": call("numpy.load", text("x.npy")),
}

CONV = named("models.common.Conv") + b")" + NEWOBJ
INSTRUCTIONS = {  # with the code and the words of their refusal
    "INST": (MARK + text(COMMAND) + b"ios\nsystem\n", "W303 it uses the pickle instruction INST"),
    "OBJ": (MARK + named("models.common.Conv") + b"o", "W303 it uses the pickle instruction OBJ"),
    "EXT1": (b"\x82\x01", "W303 it uses the pickle instruction EXT1"),
    "STACK_GLOBAL": (text("os") + text("system") + b"\x93", "W303 it refers to `os.system`"),
    "NEWOBJ_EX": (named("os.system") + b")}\x92", "W303 it refers to `os.system`"),
    "PERSID": (b"P0\n", "W302"),
    "FRAME": (b"\x95" + struct.pack("<Q", 2**62), "W302"),
    "NEXT_BUFFER": (b"\x97", "W302"),
    "READONLY_BUFFER": (b"N\x98", "W302"),
    "PROTO": (b"\x80\x06", "W302"),
    "INT": (b"I1\n", "W302"),
    "DUP": (b"N2", "W302"),
}


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
    "a storage of a type that is not read": (storage(4, kind="torch.ComplexFloatStorage"), "W304 a tensor of the type"),
    "a storage of no type": (storage(4, kind="mine.FloatStorage"), "W303 it refers to outside data"),
    "a storage of negative length": (storage(-1), "W302"),
    "a storage of two lengths": (tuple_of(storage(4), storage(5)), "W302"),
    "a tensor beyond its storage": (tensor(storage(4), 0, [5], [1]), "W303 it calls `torch._utils._rebuild_tensor_v2`"),
    "a tensor with a far offset": (tensor(storage(4), 4, [1], [1]), "W303 it calls"),
    "a tensor with a negative offset": (tensor(storage(4), -1, [1], [1]), "W303 it calls"),
    "a tensor with a long stride": (tensor(storage(4), 0, [2], [4]), "W303 it calls"),
    "a tensor with a negative stride": (tensor(storage(4), 3, [2], [-1]), "W303 it calls"),
    "a tensor repeated by stride 0": (tensor(storage(4), 0, [2**40], [0]), "W302"),
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
    "a network without state": (named("models.yolo.Model") + b")" + NEWOBJ, "W302"),
    "a function of a stranger": (call("mine.tools.load", text("x")), "W320 it calls `mine.tools.load`"),
    "a function of upstream's": (call("models.yolo.parse_model", text("x")), "W320 it calls `models.yolo.parse_model`"),
    "what a placeholder makes": (call("mine.Tool") + b")" + REDUCE, "W303 it calls something"),
    "the method of a placeholder": (
        call("builtins.getattr", call("mine.Tool"), text("run")) + b")" + REDUCE,
        "W303 it calls something",
    ),
    "the class of a placeholder": (call("builtins.getattr", call("mine.Tool"), text("__class__")), "W303 it calls"),
    "BUILD on a class of a stranger": (named("mine.Tool") + b"}" + BUILD, "W303 it sets attributes"),
    "a stranger's class as a network": (named("mine.Tool") + b")" + NEWOBJ, "W304 the class mine.Tool"),
    "a stranger's class in a wrapper": (
        named("torch.nn.parallel.data_parallel.DataParallel") + b")" + NEWOBJ + b"}" + BUILD,
        "W302",
    ),
    "a program behind upstream's name": (call("models.yolo.subprocess.Popen", text(COMMAND)), "W303 it refers to"),
    "a tensor of another's making": (
        call("torch._tensor._rebuild_from_type_v2", named("mine.Tool"), b"N", b")", b"N"),
        "W303 it calls `torch._tensor._rebuild_from_type_v2`",
    ),
    "a set of sets": (b"\x8f" * 100_000 + b"(" + b"\x90" * 1, "W302"),
    "a memo without end": (b"N" + b"\x94" * 1000 + b"h\xff", "W302"),
    "an empty stack to remember": (b"0\x94", "W302"),
    "a name of numbers": (b"K\x01K\x02\x93", "W302"),
    "a name of lists": (b"]]\x93", "W302"),
    "a frozen set without a mark": (b"\x91", "W302"),
    "bytes beyond the file": (b"B\xff\xff\xff\x7f", "W302"),
    "a short text beyond the file": (b"\x8c\xff", "W302"),
}
