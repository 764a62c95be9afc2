"""A pickle as data: a checkpoint is interpreted, never executed.

Python's own unpickler is not used, not even with a closed `find_class`: a file of 3 MB can make it hash a tuple nested
a million deep, which overflows the C stack and kills the process, or make it allocate a memo of any size. The
interpreter below knows only the instructions that `torch.save` writes. What a file names is looked up in the closed
table `references.REFERENCES`; nothing is imported, and nothing but that table's own functions is called.
"""

from __future__ import annotations

import pickletools
from mmap import mmap
from typing import IO, Any, cast

from compressor.errors import CheckpointError, Diagnostic
from compressor.yolov5.references import (
    REFERENCES,
    ElementType,
    Inert,
    Reference,
    StoredArray,
    checked_key,
    stored_array,
)

MAX_INSTRUCTIONS = 2_000_000  # a training checkpoint of YOLOv5x6 has about 400,000


def damaged(path: str, what: str) -> CheckpointError:
    """W302: the file is not a checkpoint, or not a whole one."""
    help_text = "download or copy the file again; it must be a .pt that YOLOv5's training or release wrote"
    return CheckpointError(Diagnostic("W302", f"not a readable YOLOv5 checkpoint: {what}", path, help=help_text))


def refused(path: str, what: str) -> CheckpointError:
    """W303: the file asks for something that no genuine checkpoint needs."""
    help_text = "nothing of the file was executed; do not open it with other tools, get the weights from their author"
    return CheckpointError(Diagnostic("W303", f"{what}, which no YOLOv5 checkpoint needs", path, help=help_text))


def unsupported(path: str, what: str) -> CheckpointError:
    """W304: an honest checkpoint of a network that this tool does not build."""
    help_text = "supported are detection models of the releases v4.0 to v7.0, with SiLU activations"
    return CheckpointError(Diagnostic("W304", f"{what} is not supported", path, help=help_text))


class Interpreter:
    """Runs one pickle.

    Attributes:
        storages: every storage the pickle referred to, by key.

    Args:
        path: the file, for error messages.

    Raises:
        CheckpointError: W303 a refused reference or instruction; W304 a module that is not supported. Malformed
            pickles raise ValueError, TypeError, IndexError, KeyError or the like.
    """

    def __init__(self, path: str) -> None:
        self.storages: dict[str, StoredArray] = {}
        self._path = path
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each open mark
        self._memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes] | mmap) -> Any:
        """The object that the pickle at the stream's position describes; the stream then stands behind it."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], stream))):
            if opcode.name == "STOP":
                return self._stack.pop()
            if count > MAX_INSTRUCTIONS:
                raise damaged(self._path, f"more than {MAX_INSTRUCTIONS:,} pickle instructions")
            self._step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _step(self, instruction: str, argument: Any) -> None:  # noqa: PLR0912  # one flat table of instructions
        match instruction:
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._push(_CONSTANTS[instruction])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT" | "BINUNICODE":
                self._push(argument)
            case "EMPTY_LIST":
                self._push([])
            case "EMPTY_DICT":
                self._push({})
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._push(tuple(self._pop(_TUPLE_LENGTHS[instruction])))
            case "TUPLE":
                self._push(tuple(self._pop_to_mark()))
            case "MARK":
                self._outer.append(self._stack)
                self._stack = []
            case "APPEND" | "APPENDS":
                self._extend(self._pop(1) if instruction == "APPEND" else self._pop_to_mark())
            case "SETITEM" | "SETITEMS":
                self._set_items(self._pop(2) if instruction == "SETITEM" else self._pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._push(self._memo[argument])
            case "GLOBAL":
                self._push(self._resolve(argument.replace(" ", ".")))
            case "REDUCE" | "NEWOBJ":
                self._push(self._call(*self._pop(2)))
            case "BUILD":
                self._build(*self._pop(1))
            case "BINPERSID":
                self._push(self._persistent(*self._pop(1)))
            case "POP":
                self._pop(1)
            case "POP_MARK":
                self._pop_to_mark()
            case "PROTO" if argument == 2:
                pass
            case _:
                operand = "" if argument is None else f" {str(argument)[:60]!r}"
                raise refused(self._path, f"it uses the pickle instruction {instruction}{operand}")

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
        if not isinstance(target, list):
            raise TypeError("items are appended to something that is not a list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items are set on something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _resolve(self, name: str) -> Reference | ElementType:
        found = REFERENCES.get(name)
        if found is not None:
            return found
        if name.startswith(("models.", "torch.nn.modules.", "ultralytics.")):
            raise unsupported(self._path, f"the module {name}")
        raise refused(self._path, f"it refers to `{name[:100]}`")

    def _call(self, reference: Any, arguments: Any) -> Any:
        if not isinstance(reference, Reference) or not isinstance(arguments, tuple):
            raise refused(self._path, "it calls something that is not a named class or function")
        try:
            return reference.call(*arguments)
        except (TypeError, ValueError) as fault:
            raise refused(self._path, f"it calls `{reference.name}` with unexpected arguments ({fault})") from fault

    def _build(self, state: Any) -> None:
        """Set attributes: recorded on inert objects, dropped on dictionaries (an OrderedDict's own attributes)."""
        target = self._stack[-1]
        if isinstance(target, Inert) and isinstance(state, dict):
            target.state = state
        elif not isinstance(target, Inert | dict):
            raise refused(self._path, "it sets attributes on a function, class or tensor")

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
        raise refused(self._path, "it refers to outside data that is neither a storage nor a module")

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


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLE_LENGTHS = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
