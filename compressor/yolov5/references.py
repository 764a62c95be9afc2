"""What a checkpoint's pickle may name, and the inert records that stand in for it.

The table `REFERENCES` is closed. Its functions take whatever a file hands them, so each checks its arguments and raises
TypeError or ValueError; none imports, looks up an attribute, or copies what it was handed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, NoReturn

_MAX_KEY = 2**60  # integers below hash to themselves, so that a file cannot make all its keys collide
_MAX_EXTENT = 2**48


@dataclass(frozen=True, eq=False)
class Reference:
    """What a file may name: a class or function, and what stands in for calling it."""

    name: str
    call: Callable[..., Any]


@dataclass(eq=False)
class Inert:
    """An object of the file that only records its class and its state.

    Attributes:
        name: class name as the file writes it, such as `models.common.Conv`.
        state: the object's attributes.
    """

    name: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ElementType:
    """A storage type.

    Attributes:
        name: the dtype in torch's words.
        code: numpy type string; bfloat16, which numpy lacks, as unsigned 16-bit.
        size_bytes: bytes per element.
    """

    name: str
    code: str
    size_bytes: int


@dataclass(frozen=True, eq=False)
class StoredArray:
    """A one-dimensional run of elements in the file.

    Attributes:
        key: name of the storage within the container.
        type: element type.
        numel: elements of the whole storage.
        start: first element of this view of it.
        length: elements of this view.
    """

    key: str
    type: ElementType
    numel: int
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A strided view of a stored array; `offset` and `stride` count elements."""

    array: StoredArray
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def checked_key(key: Any) -> str | int | float | None:
    """A key that hashes in constant time and cannot be made to collide with all others; TypeError for any else."""
    if key is None or isinstance(key, str | float) or (isinstance(key, int) and abs(key) < _MAX_KEY):
        return key
    raise TypeError(f"a {type(key).__name__} is used as a key")


def stored_array(key: str, kind: ElementType, numel: int, start: int, length: int) -> StoredArray:
    """A view that lies within its storage; ValueError for any other."""
    if not (0 <= start <= numel <= _MAX_EXTENT and 0 <= length <= numel - start):
        raise ValueError(f"storage {key[:40]!r} has impossible bounds")
    return StoredArray(key, kind, numel, start, length)


def _rebuild_tensor(array: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """A view that lies within its array and is no larger than it; no overlapping views, which could be of any size."""
    if not isinstance(array, StoredArray) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise TypeError("not a storage, shape and stride")
    if len(shape) != len(stride) or len(shape) > 8:
        raise ValueError("shape and stride do not match")
    for number in (offset, *shape, *stride):
        if type(number) is not int or not 0 <= number <= _MAX_EXTENT:
            raise ValueError("an offset, size or stride is not a count")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    numel = prod(shape)
    if numel > array.length or offset > array.length or (numel > 0 and last >= array.length):
        raise ValueError("a tensor reaches beyond its storage")
    return StoredTensor(array, offset, shape, stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise TypeError("not a tensor")
    return tensor


def _dictionary() -> dict[Any, Any]:
    """An OrderedDict, whose items follow as instructions."""
    return {}


def _same(items: Any = ()) -> list[Any] | tuple[Any, ...]:
    """The list of a set, or the tuple of a torch.Size: a copy per call could outgrow the memory."""
    if not isinstance(items, list | tuple):
        raise TypeError("not a list")
    return items


def _encode(text: Any, encoding: Any) -> Inert:
    """How protocol 2 writes bytes; only numpy's values hold any, and nothing reads those."""
    if not isinstance(text, str) or encoding != "latin1":
        raise TypeError("not a text in latin1")
    return Inert("bytes")


def _bound_method(owner: Any, name: Any) -> Inert:
    """A fused module keeps its replaced forward method as an attribute; nothing reads it."""
    if not isinstance(owner, Inert) or not isinstance(name, str) or "forward" not in name:
        raise TypeError("not the forward method of a module")
    return Inert("method")


def _inert(name: str) -> Reference:
    def call(*_: Any) -> Inert:
        return Inert(name)

    return Reference(name, call)


def _not_callable(*_: Any) -> NoReturn:
    raise TypeError("not to be called")


_INERT = (
    *("models.yolo.Model", "models.yolo.DetectionModel", "models.yolo.Detect"),
    *(f"models.common.{name}" for name in ("Conv", "Bottleneck", "C3", "SPP", "SPPF", "Focus", "Concat")),
    *("torch.nn.modules.container.Sequential", "torch.nn.modules.container.ModuleList"),
    *("torch.nn.modules.conv.Conv2d", "torch.nn.modules.batchnorm.BatchNorm2d"),
    *(f"torch.nn.modules.activation.{name}" for name in ("SiLU", "LeakyReLU", "Hardswish", "ReLU")),
    *("torch.nn.modules.pooling.MaxPool2d", "torch.nn.modules.upsampling.Upsample"),
    *("torch.nn.modules.linear.Identity", "torch.device", "argparse.Namespace"),
    *(f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *("numpy.ndarray", "numpy.dtype", "numpy.float64", "numpy.float32"),
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch.Size": _same,
    "collections.OrderedDict": _dictionary,
    "__builtin__.set": _same,
    "builtins.set": _same,
    "_codecs.encode": _encode,
    "__builtin__.getattr": _bound_method,
    "builtins.getattr": _bound_method,
}
_ELEMENT_TYPES = {
    "torch.HalfStorage": ElementType("float16", "<f2", 2),
    "torch.BFloat16Storage": ElementType("bfloat16", "<u2", 2),
    "torch.FloatStorage": ElementType("float32", "<f4", 4),
    "torch.DoubleStorage": ElementType("float64", "<f8", 8),
    "torch.LongStorage": ElementType("int64", "<i8", 8),
    "torch.IntStorage": ElementType("int32", "<i4", 4),
    "torch.ShortStorage": ElementType("int16", "<i2", 2),
    "torch.CharStorage": ElementType("int8", "<i1", 1),
    "torch.ByteStorage": ElementType("uint8", "<u1", 1),
    "torch.BoolStorage": ElementType("bool", "|b1", 1),
}
_DTYPES = ("float16", "bfloat16", "float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")

# Everything a checkpoint of the releases v4.0 to v7.0 names, stripped or not.
REFERENCES: dict[str, Reference | ElementType] = {
    **{name: _inert(name) for name in _INERT},
    **{name: Reference(name, call) for name, call in _FUNCTIONS.items()},
    **_ELEMENT_TYPES,
    **{f"torch.{name}": Reference(f"torch.{name}", _not_callable) for name in _DTYPES},
}
