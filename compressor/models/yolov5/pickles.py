"""A pickle as data: a checkpoint is interpreted, never executed.

Python's own unpickler is not used, not even with a closed `find_class`: a file of 3 MB can make it hash a tuple nested
a million deep, which overflows the C stack and kills the process, or make it allocate a memo of any size. The
interpreter below knows only the instructions that `torch.save` writes, in the pickle protocols 2 to 5. What a file
names is looked up in the closed table `references.REFERENCES`; nothing is imported, and nothing but that table's own
functions is called. A class that is not there becomes a placeholder, which is refused where it would be read.
"""

from __future__ import annotations

import pickletools
from mmap import mmap
from typing import IO, Any, cast

from compressor.errors import CheckpointError, Diagnostic
from compressor.models.yolov5.foreign_names import is_class, would_run
from compressor.models.yolov5.references import (
    REFERENCES,
    ElementType,
    Inert,
    Placeholder,
    Reference,
    StoredArray,
    Unknown,
    UnsupportedError,
    checked_key,
    stored_array,
    unknown,
)

MAX_INSTRUCTIONS = 2_000_000  # a training checkpoint of YOLOv5x6 has about 400,000
MAX_PICKLE_BYTES = 64 * 2**20
_MAX_PASSED_OVER = 20  # names in a message


def damaged(path: str, what: str) -> CheckpointError:
    """W302: the file is not a checkpoint, or not a whole one."""
    help_text = "download or copy the file again; it must be a .pt that YOLOv5's training or release wrote"
    return CheckpointError(Diagnostic("W302", f"not a readable YOLOv5 checkpoint: {what}", path, help=help_text))


def refused(path: str, what: str) -> CheckpointError:
    """W303: the file asks for something that no genuine checkpoint needs."""
    help_text = "nothing of the file was executed; do not open it with other tools, get the weights from their author"
    return CheckpointError(Diagnostic("W303", f"{what}, which no YOLOv5 checkpoint needs", path, help=help_text))


def unsupported(path: str, what: str, help_text: str | None = None) -> CheckpointError:
    """W304: an honest checkpoint of a network that this tool does not build."""
    help_text = help_text or "supported are detection models of the releases v4.0 to v7.0"
    return CheckpointError(Diagnostic("W304", f"{what} is not supported", path, help=help_text))


def calls_unknown(path: str, name: str) -> CheckpointError:
    """W320: the file calls a function of somebody's own project."""
    help_text = (
        "nothing was executed; where the file was made, save the network alone: torch.save({'model': model}, ...)"
    )
    message = f"it calls `{name[:100]}`, a function that compressor does not know and that torch.load would run"
    return CheckpointError(Diagnostic("W320", message, path, help=help_text))


class Interpreter:
    """Runs one pickle.

    Attributes:
        path: the file, for error messages.
        storages: every storage the pickle referred to, by key.
        passed_over: the first names of classes that are not known, in the order of the file.

    Args:
        path: the file, for error messages.

    Raises:
        CheckpointError: W302 an instruction that torch never writes; W303 a reference or instruction that would run
            something; W304 a kind of storage that is not supported; W320 an unknown function is called. Malformed
            pickles raise ValueError, TypeError, IndexError, KeyError or the like.
    """

    def __init__(self, path: str) -> None:
        self.storages: dict[str, StoredArray] = {}
        self.passed_over: dict[str, None] = {}
        self.path = path
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each open mark
        self._memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes] | mmap) -> Any:
        """The object that the pickle at the stream's position describes; the stream then stands behind it."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
            if opcode.name == "STOP":
                return self._stack.pop()
            if count > MAX_INSTRUCTIONS:
                raise damaged(self.path, f"more than {MAX_INSTRUCTIONS:,} pickle instructions")
            self._step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _step(self, instruction: str, argument: Any) -> None:  # noqa: PLR0912, PLR0915  # one flat table of instructions
        match instruction:
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._push(_CONSTANTS[instruction])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT":
                self._push(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                self._push(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                self._push(Inert("bytes"))  # only dates and numpy's values hold any, and nothing reads those
            case "EMPTY_LIST" | "EMPTY_SET":  # a set is a list here: hashing what a file holds could take for ever
                self._push([])
            case "EMPTY_DICT":
                self._push({})
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._push(tuple(self._pop(_TUPLE_LENGTHS[instruction])))
            case "TUPLE" | "FROZENSET":
                self._push(tuple(self._pop_to_mark()))
            case "MARK":
                self._outer.append(self._stack)
                self._stack = []
            case "APPEND" | "APPENDS" | "ADDITEMS":
                self._extend(self._pop(1) if instruction == "APPEND" else self._pop_to_mark())
            case "SETITEM" | "SETITEMS":
                self._set_items(self._pop(2) if instruction == "SETITEM" else self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._push(self._memo[argument])
            case "GLOBAL":
                self._push(self._resolve(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                self._push(self._resolve(_joined(*self._pop(2))))
            case "REDUCE":
                self._push(self._call(*self._pop(2)))
            case "NEWOBJ":
                self._push(self._new(*self._pop(2)))
            case "NEWOBJ_EX":
                self._push(self._new(*self._pop(3)[:2]))
            case "BUILD":
                self._build(*self._pop(1))
            case "BINPERSID":
                self._push(self._persistent(*self._pop(1)))
            case "POP":
                self._pop(1)
            case "POP_MARK":
                self._pop_to_mark()
            case "PROTO" if 2 <= argument <= _NEWEST_PROTOCOL:
                pass
            case "FRAME" if argument <= MAX_PICKLE_BYTES:
                pass
            case _:
                raise self._odd(instruction, argument)

    def _odd(self, instruction: str, argument: Any) -> CheckpointError:
        operand = "" if argument is None else f" {str(argument)[:60]!r}"
        what = f"it uses the pickle instruction {instruction}{operand}"
        if instruction in _CALLING:
            return refused(self.path, what)
        return damaged(self.path, f"{what}, which torch.save never writes")

    def _push(self, item: Any) -> None:
        self._stack.append(item)

    def _pop(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise IndexError("the pickle takes more than it has")
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def _pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Placeholder):
            return
        if not isinstance(target, list):
            raise TypeError("items are appended to something that is not a list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Placeholder):
            return
        if not isinstance(target, dict):
            raise TypeError("items are set on something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _resolve(self, name: str) -> Reference | ElementType:
        found = REFERENCES.get(name)
        if found is not None:
            return found
        if name.startswith("torch.") and name.endswith("Storage"):
            raise unsupported(self.path, f"a tensor of the type {name[:100]}")
        if would_run(name):
            raise refused(self.path, f"it refers to `{name[:100]}`")
        if len(self.passed_over) < _MAX_PASSED_OVER:
            self.passed_over[name] = None
        return unknown(name)

    def _call(self, reference: Any, arguments: Any) -> Any:
        if isinstance(reference, Unknown) and not is_class(reference.name):
            raise calls_unknown(self.path, reference.name)
        return self._new(reference, arguments)

    def _new(self, reference: Any, arguments: Any) -> Any:
        """An object of a class; what is not known has no function that this could call, whatever it is."""
        if not isinstance(reference, Reference) or not isinstance(arguments, tuple):
            raise refused(self.path, "it calls something that is not a named class or function")
        try:
            return reference.call(*arguments)
        except UnsupportedError as error:
            raise unsupported(self.path, str(error)) from error
        except (TypeError, ValueError) as error:
            raise refused(self.path, f"it calls `{reference.name}` with unexpected arguments ({error})") from error

    def _build(self, state: Any) -> None:
        """Set attributes: recorded on inert objects, dropped on dictionaries (an OrderedDict's own attributes)."""
        target = self._stack[-1]
        if isinstance(target, Inert) and isinstance(state, dict):
            target.state = state
        elif not isinstance(target, Inert | dict):
            raise refused(self.path, "it sets attributes on a function, class or tensor")

    def _persistent(self, identifier: Any) -> StoredArray | Reference:
        """("storage", type, key, device, numel[, view]), or in old files ("module", class, source file, source text).

        The source text is never looked at.
        """
        match identifier:
            case ("storage", ElementType() as kind, str(key), str(), int(numel)):
                return self._storage(key, kind, numel, None)
            case ("storage", ElementType() as kind, str(key), str(), int(numel), view):
                return self._storage(key, kind, numel, view)
            case ("module", Reference() as reference, _, _):
                return reference
        raise refused(self.path, "it refers to outside data that is neither a storage nor a module")

    def _storage(self, key: str, kind: ElementType, numel: int, view: Any) -> StoredArray:
        whole = self.storages.setdefault(key, stored_array(key, kind, numel, 0, numel))
        if (whole.type, whole.numel) != (kind, numel):
            raise ValueError(f"storage {key[:40]!r} is stated with two types or lengths")
        match view:
            case None:
                return whole
            case (str(), int(start), int(length)):
                return stored_array(key, kind, numel, start, length)
        raise TypeError("a view of a storage is not a key, start and length")


def _joined(module: Any, name: Any) -> str:
    """The name that a file puts together from two texts."""
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 1000:
        raise TypeError("a name is not put together from two texts")
    return f"{module}.{name}"


_NEWEST_PROTOCOL = 5
_CALLING = frozenset(("INST", "OBJ", "EXT1", "EXT2", "EXT4"))  # of old protocols, or by a table of the reader's
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLE_LENGTHS = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
