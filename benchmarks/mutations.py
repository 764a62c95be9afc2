"""How `fuzz.py` changes bytes: blindly, and by the structure of what they hold."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from random import Random
from typing import Any

import yaml

EXTREMES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    2**64,
    10**40,
    0.0,
    -0.0,
    1e-320,
    1e308,
    1e39,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    "\0",
    "x" * 5000,
    "\ud800",
    "é\u202e\U0001f600",
    "nan",
    "1e999",
    "../../x",
    "/dev/zero",
    "${x}",
    "[",
    "!!python/object:os.system",
    [],
    {},
    [[]],
    {"": {}},
    [None],
    {"a": []},
    "*",
    "re:(x+)+y",
)
_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**62, 2**63, 2**64 - 1)


def mutated(data: bytes, kind: str, random: Random, others: list[bytes]) -> bytes:
    """One input from another: by its structure two times in three where it has one.

    Args:
        data: a good file.
        kind: what it is: zip, safetensors, json, yaml, png or anything else.
        random: decides what is changed.
        others: more files to take pieces from.
    """
    structured = {"zip": _zip, "safetensors": _safetensors, "json": _json, "yaml": _yaml, "png": _png}.get(kind)
    if structured is not None and random.random() < 0.67:
        return structured(data, random)
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        _blind(changed, random, others)
    return bytes(changed)


def _blind(data: bytearray, random: Random, others: list[bytes]) -> None:
    place = random.randrange(len(data) + 1) if random.random() < 0.5 else random.randrange(min(len(data), 400) + 1)
    length = random.choice((1, 1, 2, 4, 8, 64, 1000))
    match random.randrange(9):
        case 0 if place < len(data):
            data[place] ^= 1 << random.randrange(8)
        case 1 if place < len(data):
            data[place] = random.randrange(256)
        case 2:
            del data[place:]
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = random.randbytes(length)
        case 5:
            data[place:place] = data[place : place + length] * random.choice((1, 2, 50))
        case 6:
            size = random.choice((2, 4, 8))
            number = random.choice(_INTEGERS) % 2 ** (8 * size)
            data[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))
        case 7 if others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + length * 4]
        case _:
            digits = [i for i, byte in enumerate(data[:100_000]) if 48 <= byte <= 57]
            if digits:
                where = random.choice(digits)
                data[where : where + 1] = random.choice((b"-1", b"1e999", b"nan", b"9" * 400, b"0x1f", b"", b"1_0"))


def _places(tree: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*place, key), *_places(value, (*place, key))]
    return found


def changed_tree(tree: Any, random: Random) -> Any:
    """The tree with one to three values replaced, removed, moved, repeated or renamed, in place."""
    for _ in range(random.choice((1, 1, 2, 3))):
        places = _places(tree)
        if not places:
            return random.choice(EXTREMES)
        *path, key = random.choice(places)
        parent = tree
        for part in path:
            parent = parent[part]
        match random.randrange(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[random.choice(("", "x", "a" * 300, str(key).upper(), "\ud800"))] = parent.pop(key)
            case 2 if isinstance(parent, list):
                parent.extend([parent[key]] * random.choice((1, 100)))
            case 3:
                deep: Any = parent[key]
                for _ in range(random.choice((1, 30, 200))):
                    deep = random.choice(([deep], {"a": deep}))
                parent[key] = deep
            case 4:
                other = random.choice(places)
                value = tree
                try:
                    for part in other:
                        value = value[part]
                    parent[key] = json.loads(json.dumps(value))
                except (KeyError, IndexError, TypeError):
                    parent[key] = None
            case _:
                parent[key] = random.choice(EXTREMES)
    return tree


def _json(data: bytes, random: Random) -> bytes:
    tree = changed_tree(json.loads(data), random)
    return json.dumps(tree, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _yaml(data: bytes, random: Random) -> bytes:
    tree = changed_tree(yaml.safe_load(data), random)
    try:
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=random.random() < 0.5)
    except (yaml.YAMLError, RecursionError, UnicodeError):
        text = json.dumps(tree)  # which is YAML as well
    return text.encode("utf-8", "surrogatepass")


def _zip(data: bytes, random: Random) -> bytes:
    """An archive with one member changed and its checksum right."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        pickles = [name for name in names if name.endswith("data.pkl")]
        chosen = random.choice(pickles if random.random() < 0.8 else names)
        for name in names:
            content = bytearray(old.read(name))
            for _ in range(random.choice((1, 1, 2, 8)) if name == chosen else 0):
                _blind(content, random, [data])
            if name != chosen or random.random() < 0.97:
                new.writestr(name, bytes(content))
    return target.getvalue()


def _safetensors(data: bytes, random: Random) -> bytes:
    """A file with its header changed, or the JSON within it; the length is right, or it lies."""
    (length,) = struct.unpack_from("<Q", data)
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    inner = list(header.get("__metadata__", {}))
    if inner and random.random() < 0.7:
        key = random.choice(inner)
        try:
            tree = changed_tree(json.loads(header["__metadata__"][key]), random)
            header["__metadata__"][key] = json.dumps(tree)
        except ValueError:
            header["__metadata__"][key] = str(random.choice(EXTREMES))
    else:
        header = changed_tree(header, random)
    text = json.dumps(header).encode()
    stated = len(text) if random.random() < 0.9 else random.choice(_INTEGERS)
    return struct.pack("<Q", stated) + text + rest


def _png(data: bytes, random: Random) -> bytes:
    """A picture with another size, depth or kind in its header, the checksum right."""
    header = bytearray(data[16:29])
    for _ in range(random.choice((1, 2))):
        match random.randrange(3):
            case 0:
                struct.pack_into(
                    ">I", header, random.choice((0, 4)), random.choice((0, 1, 9, 10, 65, 10_000, 60_000, 2**31))
                )
            case 1:
                header[8] = random.choice((0, 1, 2, 4, 8, 16, 99))
            case _:
                header[random.choice((9, 10, 11, 12))] = random.choice((0, 1, 2, 3, 4, 6, 255))
    return data[:16] + bytes(header) + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
