"""A corpus of hostile files for the reader of checkpoints, written into a folder; none may be more than read."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.models.yolov5.hostile_pickles import (
    ABUSES,
    BINPERSID,
    BUILD,
    COMMAND,
    INSTRUCTIONS,
    LEGACY_HEAD,
    MARK,
    NEWOBJ,
    PROTO,
    REDUCE,
    REFUSED,
    STOP,
    call,
    named,
    number,
    storage,
    tensor,
    text,
    tuple_of,
    write,
)

CANARY = "ran"  # what every payload that runs would leave in the working folder

# What an attacker would import: each with arguments that leave the canary where they can.
_SHELL = text(COMMAND)
_PYTHON = text(f"open({CANARY!r}, 'w')")
_WORDS = tuple_of(text("touch"), text(CANARY))
IMPORTS: dict[str, tuple[bytes, ...]] = {
    **{f"{module}.system": (_SHELL,) for module in ("os", "posix", "nt", "commands")},
    **{f"{module}.popen": (_SHELL,) for module in ("os", "nt", "platform")},
    **{f"os.{name}": (text("touch"), _WORDS) for name in ("execv", "execvp", "posix_spawnp")},
    **{f"os.{name}": (text(CANARY),) for name in ("mkdir", "mkfifo", "remove", "startfile")},
    **{f"subprocess.{name}": (_WORDS,) for name in ("Popen", "call", "run", "check_output", "getoutput")},
    **{
        f"{module}.{name}": (_PYTHON,) for module in ("builtins", "__builtin__") for name in ("eval", "exec", "compile")
    },
    **{f"{module}.open": (text(CANARY), text("w")) for module in ("builtins", "__builtin__", "io", "_io", "codecs")},
    **{f"{module}.__import__": (text("antigravity"),) for module in ("builtins", "__builtin__", "importlib")},
    **{f"importlib.{name}": (text("antigravity"),) for name in ("import_module", "reload")},
    **{f"runpy.{name}": (text("antigravity"),) for name in ("run_module", "run_path", "_run_code")},
    **{f"builtins.{name}": (text("x"),) for name in ("getattr", "setattr", "globals", "vars", "type", "map", "print")},
    **{
        f"torch.{name}": (text("x.pt"),) for name in ("load", "hub.load", "jit.load", "jit.compile", "ops.load_library")
    },
    **{f"torch.{name}": (text("x"),) for name in ("storage._load_from_bytes", "classes.load_library", "save")},
    **{f"torch.utils.cpp_extension.{name}": (text("x"), text("y")) for name in ("load", "load_inline")},
    **{f"torch._dynamo.{name}": (text("x"),) for name in ("guards.GuardBuilder.get", "exec_fn", "run")},
    **{
        f"{name}": (text("x"),)
        for name in ("pickle.loads", "_pickle.loads", "marshal.loads", "dill.loads", "joblib.load")
    },
    **{f"{name}": (text("x"), text("y")) for name in ("shutil.copy", "shutil.rmtree", "socket.socket", "ctypes.CDLL")},
    **{f"{name}": (_PYTHON,) for name in ("code.interact", "timeit.timeit", "cProfile.run", "pdb.run", "pty.spawn")},
    **{f"{name}": (text("x"),) for name in ("operator.attrgetter", "operator.methodcaller", "functools.partial")},
    **{f"{name}": (text("http://localhost/"),) for name in ("webbrowser.open", "urllib.request.urlopen", "numpy.load")},
    **{
        f"{name}": (text("x"),)
        for name in ("types.FunctionType", "types.CodeType", "numpy.testing._private.utils.runstring")
    },
    **{
        f"compressor.{name}": (text("x"),)
        for name in ("cli.main.main", "output.written", "yolov5.containers.open_container")
    },
    **{f"models.yolo.{name}": (text("x"),) for name in ("parse_model", "os.system", "Model.__class__.mro")},
    **{f"models.common.{name}": (text("x"),) for name in ("torch.load", "AutoShape", "Conv.forward.__globals__")},
    **{f"collections.{name}": (text("x"), text("y")) for name in ("namedtuple", "OrderedDict.update", "Counter")},
    "torch._utils._rebuild_tensor_v2.__globals__": (text("x"),),
    "torch.serialization._legacy_load": (text("x"),),
    "logging.config.listen": (),
    "antigravity.webbrowser.open": (text("x"),),
}


def _split(reference: str) -> tuple[bytes, bytes]:
    module, _, name = reference.rpartition(".")
    return module.encode(), name.encode()


# Every way in which a pickle can call what it names.
CALLS: dict[str, Callable[[str, tuple[bytes, ...]], bytes]] = {
    "REDUCE": lambda name, given: call(name, *given),
    "NEWOBJ": lambda name, given: named(name) + tuple_of(*given) + NEWOBJ,
    "NEWOBJ_EX": lambda name, given: named(name) + tuple_of(*given) + b"}\x92",
    "OBJ": lambda name, given: MARK + named(name) + b"".join(given) + b"o",
    "INST": lambda name, given: MARK + b"".join(given) + b"i%s\n%s\n" % _split(name),
    "STACK_GLOBAL": lambda name, given: (
        b"".join(text(part.decode()) for part in _split(name)) + b"\x93" + tuple_of(*given) + REDUCE
    ),
    "BUILD": lambda name, given: named(name) + b"}" + text("x") + tuple_of(*given) + b"s" + BUILD,
    "by a memo": lambda name, given: named(name) + b"q\x070" + b"h\x07" + tuple_of(*given) + REDUCE,
    "by a long memo": lambda name, given: named(name) + b"r\x07\0\0\0" + tuple_of(*given) + b"\x94" + REDUCE,
    "deep inside": lambda name, given: b"]}" + text("a") + b"(" + call(name, *given) + b"t\x85s" + b"a",
    "as a key": lambda name, given: b"}" + call(name, *given) + b"Ns",
    "as a state": lambda name, given: named("models.common.Conv") + b")\x81" + call(name, *given) + BUILD,
    "as an outside reference": lambda name, given: call(name, *given) + BINPERSID,
    "as a module": lambda name, given: tuple_of(text("module"), named(name), text("x.py"), text("y")) + BINPERSID,
    "as an argument": lambda name, given: call("models.yolo.Model", call(name, *given)),
    "by the getter of methods": lambda name, given: call("builtins.getattr", named(name), text("forward_fuse")),
    "by a partial name": lambda name, given: b"c%s\n%s __call__\n" % _split(name) + tuple_of(*given) + REDUCE,
    "EXT1": lambda _name, given: b"\x82\x01" + tuple_of(*given) + REDUCE,
    "EXT2": lambda _name, given: b"\x83\x01\x00" + tuple_of(*given) + REDUCE,
    "EXT4": lambda _name, given: b"\x84\x01\x00\x00\x00" + tuple_of(*given) + REDUCE,
    "PERSID": lambda name, _given: b"P%s\n%s" % (name.encode(), b""),
}
_ONCE = ("EXT1", "EXT2", "EXT4")  # what they call is not in the file

_ENDLESS = 2_100_000  # instructions: five times those of a genuine training checkpoint
_LONG = (
    *("many references", "many dictionaries", "many marks", "many objects", "many texts", "many memos"),
    *("many memos of protocol 4", "many sets", "many strangers", "many frames"),
)


def _bombs() -> dict[str, bytes]:
    """Small pickles that ask for much: of memory, of time, or of depth."""
    stored = tuple_of(text("storage"), named("torch.FloatStorage"), text("0"), text("cpu"), number(4))
    conv = named("models.common.Conv") + b"q\x000"
    doubled = b"](" + b"N" * 99 + b"e" + b"".join(b"q%c(" % i + b"h%c" % i * 99 + b"t" for i in range(200))
    texts = b"X" + struct.pack("<I", 1000) + b"a" * 1000
    return {
        "many dictionaries": b"](" + b"}" * _ENDLESS + b"e",
        "many marks": b"(" * _ENDLESS,
        "many objects": conv + b"](" + b"h\0)R}b" * (_ENDLESS // 5) + b"e",
        "many references": stored + b"q\x000](" + b"h\0Q" * (_ENDLESS // 2) + b"e",
        "many memos": b"N" + b"".join(b"r" + struct.pack("<I", i * 977) for i in range(_ENDLESS // 8)),
        "many texts": texts + b"q\0](" + b"h\0" * (_ENDLESS // 2) + b"e",
        "tuples of tuples": doubled,
        "a deep tuple": b")" + b"\x85" * 300_000,
        "a deep key": b"}" + b")" + b"\x85" * 300_000 + b"Ns",
        "deep marks": b"(" * 300_000 + b"t" * 300_000,
        "deep lists": b"]" * 300_000 + b"a" * 299_999,
        "deep dictionaries": b"}N" * 300_000 + b"}" + b"s" * 300_000,
        "a list in itself": b"]q\0h\0a",
        "a dictionary in itself": b"}q\0" + text("model") + b"h\0s",
        "LONG4 of 2 GB": b"\x8b\xff\xff\xff\x7f",
        "LONG4 below zero": b"\x8b\xff\xff\xff\xff",
        "LONG1 of 255 bytes": b"\x8a\xff" + b"\x7f" * 255,
        "a number of 8 MB": b"\x8b" + struct.pack("<i", 8_000_000) + b"\x7f" * 8_000_000,
        "a number of 200,000 digits": b"L" + b"9" * 200_000 + b"L\n",
        "BINBYTES8 of 2^62": b"\x8e" + struct.pack("<Q", 2**62) + b"x",
        "BINBYTES of 4 GB": b"B" + struct.pack("<I", 2**32 - 1) + b"x",
        "BINUNICODE of 4 GB": b"X" + struct.pack("<I", 2**32 - 1) + b"x",
        "BINUNICODE8 of 2^62": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
        "BYTEARRAY8 of 2^62": b"\x96" + struct.pack("<Q", 2**62) + b"x",
        "BINSTRING below zero": b"T" + struct.pack("<i", -1),
        "FRAME of 2^62": b"\x95" + struct.pack("<Q", 2**62),
        "a memo of 2^32 - 1": b"Nr\xff\xff\xff\xff",
        "a name without end": b"c" + b"a" * 2_000_000,
        "a storage of 2^60": storage(2**60),
        "a storage of 2^47": tensor(storage(2**47), 0, [2**47], [1]),
        "a tensor by stride 0": tensor(storage(4), 0, [2**20, 2**20], [0, 0]),
        "a tensor of overlaps": tensor(storage(4), 0, [4, 4], [0, 1]),
        "a tensor of no rows and all columns": tensor(storage(4), 0, [0, 2**47], [1, 1]),
        "a tensor of 64 axes": tensor(storage(4), 0, [1] * 64, [1] * 64),
        "a tensor of one value": tensor(storage(1, kind="torch.DoubleStorage"), 0, [], []),
        "words that are no letters": b"X\x04\0\0\0\xff\xfe\xfd\xfc",
        "half of a letter": b"X\x03\0\0\0\xed\xa0\x80",
        "an escape that is none": b"S'\\x'\n",
        "many frames": (b"\x95" + bytes(8)) * (_ENDLESS // 8),
        "many memos of protocol 4": b"N" + b"\x94" * (_ENDLESS // 2),
        "many sets": b"](" + b"\x8f" * (_ENDLESS // 4) + b"e",
        "deep sets": b"\x8f(" * 300_000 + b"\x90" * 300_000,
        "deep frozen sets": b"(" * 300_000 + b"\x91" * 300_000,
        "many strangers": named("mine.Tool") + b"\x940](" + b"h\0)\x81" * (_ENDLESS // 8) + b"e",
        "many names of strangers": b"](" + b"".join(named(f"mine.Tool{i}") for i in range(100_000)) + b"e",
        "no instruction at all": b"",
        "nothing but ends": b"." * 1000,
    }


def _zipped(path: Path, members: dict[str, bytes], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def _archives(folder: Path) -> Iterator[Path]:
    """Archives whose directory, names, sizes or members are made to deceive."""
    evil = PROTO + b"}" + text("model") + REFUSED["os.system"] + b"s" + STOP
    plain = pickle.dumps({"model": None}, 2)
    for number_, name in enumerate(
        ("../../ran", "/tmp/ran", "..\\..\\ran", "C:\\ran", "x/../../ran", "x/./data.pkl", "x" * 60_000, "ran")
    ):
        yield _zipped(folder / f"name {number_}.pt", {"x/data.pkl": plain, name: evil})
        yield _zipped(folder / f"only name {number_}.pt", {name: evil})
    yield _zipped(folder / "top goes up.pt", {"../data.pkl": evil, "../data/0": bytes(16)})
    yield _zipped(folder / "two pickles.pt", {"x/data.pkl": plain, "y/data.pkl": evil})
    yield _zipped(
        folder / "torchscript.pt", {"x/data.pkl": plain, "x/constants.pkl": evil, "x/code/x.py": b"import os"}
    )
    yield _zipped(folder / "bomb.pt", {"x/data.pkl": plain, "x/data/0": bytes(30_000_000)}, compression=8)
    yield _zipped(folder / "bomb in the pickle.pt", {"x/data.pkl": plain + bytes(90_000_000)}, compression=8)
    yield _zipped(folder / "lzma.pt", {"x/data.pkl": plain + bytes(1_000_000)}, compression=zipfile.ZIP_LZMA)
    yield _zipped(folder / "bzip2.pt", {"x/data.pkl": plain + bytes(1_000_000)}, compression=zipfile.ZIP_BZIP2)
    yield _zipped(folder / "many entries.pt", {"x/data.pkl": plain, **{f"x/{i}": b"" for i in range(60_000)}})
    with zipfile.ZipFile(folder / "links.pt", "w") as archive:
        archive.writestr(_link("x/data.pkl"), b"/etc/passwd")
        archive.writestr(_link("x/data/0"), b"../../ran")
    yield folder / "links.pt"
    yield from _edited_archives(folder, _zipped(folder / "good.zip", {"x/data.pkl": evil, "x/data/0": bytes(64)}))


def _edited_archives(folder: Path, source: Path) -> Iterator[Path]:
    good = source.read_bytes()
    directory, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")
    entry = good[directory:end]
    edits = {
        "duplicate names": good[:end] + entry + _end(4, 2 * len(entry), directory),
        "overlapping members": good[:end] + entry.replace(b"x/", b"y/") * 3 + _end(8, 4 * len(entry), directory),
        "a directory of 4 GB": good[:end] + _end(2, 2**32 - 2, 0),
        "a directory behind the end": good[:end] + _end(2, len(entry), 2**31),
        "65,535 entries that are not there": good[:end] + _end(65535, len(entry), directory),
        "a member of 4 GB": good[: directory + 20] + b"\xfe\xff\xff\xff" * 2 + good[directory + 28 :],
        "a member that inflates": good[: directory + 10] + b"\x08\0" + good[directory + 12 :],
        "encrypted": good[: directory + 8] + b"\x01\0" + good[directory + 10 :],
        "a member before the file": good[: directory + 42] + b"\xff\xff\xff\x7f" + good[directory + 46 :],
        "another checksum": good[: directory + 16] + bytes(4) + good[directory + 20 :],
        "another method": good[: directory + 10] + b"\x63\0" + good[directory + 12 :],
        "no directory": good[:directory],
        "a comment in front": good[:4] + b"x" * 5000 + good[4:],
        "64-bit sizes": good[:end] + b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2**40, 2**40, 2**60, 0)
        + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1) + _end(65535, 2**32 - 1, 2**32 - 1),
    }  # fmt: skip
    for name, content in edits.items():
        (folder / f"{name}.pt").write_bytes(content)
        yield folder / f"{name}.pt"


def _end(entries: int, size: int, offset: int) -> bytes:
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, entries, entries, size, offset, 0)


def _other_layouts(folder: Path) -> Iterator[Path]:
    """Plain pickles, tar archives of torch before 0.1.10, things packed once more, and files that only begin well."""
    evil = PROTO + REFUSED["os.system"] + STOP
    legacy = LEGACY_HEAD + PROTO + b"}" + text("model") + REFUSED["os.system"] + b"s" + STOP
    key = PROTO + b"](" + text("0") + b"e" + STOP
    huge = LEGACY_HEAD + PROTO + tensor(storage(2**40), 0, [4], [1]) + STOP + key
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../../ran", "/tmp/ran"):
            info = tarfile.TarInfo(name)
            info.size = len(evil)
            archive.addfile(info, io.BytesIO(evil))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    contents = {
        **{f"a plain pickle of protocol {i}": b"\x80%c" % i + REFUSED["os.system"] + STOP for i in range(6)},
        "protocol 0": b"cos\nsystem\n(S'touch ran'\ntR.",
        "tar": tarred.getvalue(),
        "gzip": gzip.compress(evil),
        "zlib": zlib.compress(evil),
        "an old file cut short": legacy[:-20],
        "an old file in the magic number's place": PROTO + REFUSED["os.system"] + STOP + legacy,
        "an old file in the protocol's place": LEGACY_HEAD[:15] + evil + legacy,
        "an old file in the system's place": LEGACY_HEAD[:20] + evil + legacy,
        "an old file in the keys' place": LEGACY_HEAD + pickle.dumps({"model": None}, 2) + evil,
        "an old file with a huge storage": huge + struct.pack("<q", 2**40) + bytes(64),
        "an old file with a storage below zero": huge + struct.pack("<q", -1) + bytes(64),
        "an old file with a key of none": LEGACY_HEAD + pickle.dumps({"model": None}, 2) + key,
        "an old file of the same key twice": huge.replace(b"](" + text("0"), b"](" + text("0") * 2) + bytes(64),
        "a program": b"#!/bin/sh\ntouch ran\n",
        "a web page": b"<html>" + bytes(1000),
        "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "nothing": b"",
        "zeros": bytes(100_000),
        "the start of an archive": b"PK\x03\x04" + bytes(100),
        "many starts of archives": b"PK\x03\x04PK\x05\x06PK\x01\x02" * 50_000,
    }  # fmt: skip
    for name, content in contents.items():
        for ending in ("pt", "safetensors"):
            (folder / f"{name}.{ending}").write_bytes(content)
            yield folder / f"{name}.{ending}"
    for name, start in (("sparse old", LEGACY_HEAD), ("sparse zip", b"PK\x03\x04"), ("sparse", b"\x80\x02")):
        with (folder / f"{name}.pt").open("wb") as stream:
            stream.write(start)
            stream.truncate(2**40)
        yield folder / f"{name}.pt"


def _no_files(folder: Path) -> Iterator[Path]:
    """What a name can stand for that has no end, or no contents."""
    for ending in ("pt", "safetensors", "yaml"):
        pipe, device, place, loop = (folder / f"{kind}.{ending}" for kind in ("pipe", "device", "folder", "loop"))
        os.mkfifo(pipe)
        device.symlink_to("/dev/zero")
        place.mkdir()
        loop.symlink_to(loop)
        yield from (pipe, device, place, loop)


def write_corpus(folder: Path, every: int = 1) -> list[Path]:
    """Write every hostile file into a folder; the bodies of pickles once in each container.

    Args:
        folder: an empty one.
        every: of the combinations of a call with what it calls, take only one in so many, and of the longest files one.
    """
    bodies = {f"refused {name}": body for name, body in REFUSED.items()}
    bodies |= {f"instruction {name}": body for name, (body, _) in INSTRUCTIONS.items()}
    bodies |= {f"abuse {name}": body for name, (body, _) in ABUSES.items()}
    calls = {
        f"{how} {name}": make(name, IMPORTS[name])
        for how, make in CALLS.items()
        for name in (list(IMPORTS)[:1] if how in _ONCE else IMPORTS)
    }
    bodies |= dict(list(calls.items())[::every])
    files = []
    for container in ("zip", "legacy"):
        for index, (name, body) in enumerate({**bodies, **_bombs()}.items()):
            if name in _LONG and (container == "legacy" or (every > 1 and name != _LONG[0])):
                continue  # they take seconds each, and are alike
            slug = "".join(letter if letter.isalnum() else "_" for letter in name)[:60]
            files.append(write(folder / f"{container}_{index:04}_{slug}.pt", body, container))
    return [*files, *_archives(folder), *_other_layouts(folder), *_no_files(folder)]
