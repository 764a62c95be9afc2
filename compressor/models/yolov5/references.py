"""What a checkpoint's pickle may name, and the inert records that stand in for it.

The table `REFERENCES` is closed. Its functions take whatever a file hands them, so each checks its arguments and raises
TypeError or ValueError; none imports, looks up an attribute, or copies what it was handed. What the table lacks becomes
a `Placeholder`, which nothing reads, or is refused: see `foreign_names.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NoReturn

from torch import Tensor

from compressor.models.yolov5.activation import ACTIVATIONS

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


@dataclass(eq=False)
class Placeholder(Inert):
    """An object of a class that is not part of a network. Nothing of it is read; items put into it are dropped."""


@dataclass(frozen=True, eq=False)
class Unknown(Reference):
    """What a file may name although it is not known, as long as nobody reads what comes of it."""


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


class UnsupportedError(Exception):
    """What an honest file asks for and is not supported, by name."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A strided view of a stored array; `offset` and `stride` count elements.

    All of it lies in the array, but it may be larger: an expanded view shows one element many times. The values of a
    `negated` one are those of the array times -1.
    """

    array: StoredArray
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    negated: bool = False

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def checked_key(key: Any) -> str | int | float | Inert | Reference | StoredTensor | None:
    """A key that hashes in constant time and cannot be made to collide with all others; TypeError for any else.

    A tuple, which nothing that is read has for a key, becomes a record that equals nothing else: hashing one of great
    depth would overflow the stack.
    """
    if key is None or isinstance(key, str | float) or (isinstance(key, int) and abs(key) < _MAX_KEY):
        return key
    if isinstance(key, Inert | Reference | StoredTensor):  # these hash by identity
        return key
    if isinstance(key, tuple):
        return Inert("tuple")
    raise TypeError(f"a {type(key).__name__} is used as a key")


def stored_array(key: str, kind: ElementType, numel: int, start: int, length: int) -> StoredArray:
    """A view that lies within its storage; ValueError for any other."""
    if not (0 <= start <= numel <= _MAX_EXTENT and 0 <= length <= numel - start):
        raise ValueError(f"storage {key[:40]!r} has impossible bounds")
    return StoredArray(key, kind, numel, start, length)


def _rebuild_tensor(array: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """A view that lies within its array. It may overlap itself: who reads it must look at its size first."""
    if not isinstance(array, StoredArray) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise TypeError("not a storage, shape and stride")
    if len(shape) != len(stride) or len(shape) > 8:
        raise ValueError("shape and stride do not match")
    for number in (offset, *shape, *stride):
        if type(number) is not int or not 0 <= number <= _MAX_EXTENT:
            raise ValueError("an offset, size or stride is not a count")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    numel = prod(shape)
    if offset > array.length or (numel > 0 and last >= array.length):
        raise ValueError("a tensor reaches beyond its storage")
    return StoredTensor(array, offset, shape, stride)


def _rebuild_tensor_v2(
    array: Any, offset: Any, shape: Any, stride: Any, _grad: Any = None, _hooks: Any = None, bits: Any = None
) -> StoredTensor:
    """A view with what torch says of it beside its place: whether its values count negated, or conjugate."""
    tensor = _rebuild_tensor(array, offset, shape, stride)
    if bits is None:
        return tensor
    if not isinstance(bits, dict) or not all(type(name) is str and type(bits[name]) is bool for name in bits):
        raise TypeError("what is said of a tensor is not true or false")
    others = sorted(name[:40] for name, value in bits.items() if name != "neg" and value)
    if others:
        raise UnsupportedError(f"a tensor that is marked {others[0]!r}")
    return replace(tensor, negated=bits.get("neg", False))


def _rebuild_parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise TypeError("not a tensor")
    return tensor


def _rebuild_parameter_with_state(
    tensor: Any, _grad: Any = None, _hooks: Any = None, state: Any = None
) -> StoredTensor:
    """A parameter that has attributes of its own."""
    _check_attributes(state)
    return _rebuild_parameter(tensor)


def _check_attributes(state: Any) -> None:
    """Refuse attributes that replace one of a tensor's own, such as `data`; all others change none of its values.

    Args:
        state: attributes by name; or a pair of them, those of `__slots__` second.
    """
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for part in parts:
        if not isinstance(part, dict | None) or not all(type(name) is str for name in part or {}):
            raise TypeError("a tensor's attributes are not names with values")
        for name in part or {}:
            if hasattr(Tensor, name) and name not in _HARMLESS:
                raise UnsupportedError(f"a tensor whose attribute {name[:40]!r} was replaced")


def _rebuild_of_type(rebuild: Any, _kind: Any, arguments: Any, state: Any = None) -> StoredTensor:
    """A tensor that has attributes of its own, which change none of its values."""
    if not isinstance(rebuild, Reference) or rebuild.call not in _REBUILD:
        raise TypeError("not the function that rebuilds a tensor")
    _check_attributes(state)
    tensor = rebuild.call(*arguments)
    assert isinstance(tensor, StoredTensor)
    return tensor


_REBUILD = (_rebuild_tensor, _rebuild_tensor_v2, _rebuild_parameter, _rebuild_parameter_with_state)
_HARMLESS = ("grad", "requires_grad", "_backward_hooks", "_post_accumulate_grad_hooks")


def _dictionary(*arguments: Any) -> dict[Any, Any]:
    """An OrderedDict, defaultdict or Counter: its items follow as instructions, or are the last argument."""
    given = arguments[-1] if arguments else None
    if len(arguments) > 2 or not (given is None or isinstance(given, dict | Reference)):
        raise TypeError("not a dictionary")
    return given if isinstance(given, dict) else {}


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
    """A fused module keeps its replaced forward method as an attribute."""
    if not isinstance(owner, Inert) or not isinstance(name, str) or name.startswith("__") or not name.isidentifier():
        raise TypeError("not the method of a module")
    return Inert("method", {"name": name})


def _inert(name: str) -> Reference:
    def call(*_: Any) -> Inert:
        return Inert(name)

    return Reference(name, call)


def _placeholder(name: str) -> Callable[..., Placeholder]:
    def call(*_: Any) -> Placeholder:
        return Placeholder(name)

    return call


def _not_callable(*_: Any) -> NoReturn:
    raise TypeError("not to be called")


_PIP = "yolov5."  # the prefix of the same classes in the package of that name

# Modules of a network, by the kind of module that stands for them.
MODULES: dict[str, str] = {
    "models.yolo.Model": "Model",
    "models.yolo.DetectionModel": "Model",
    "models.yolo.Detect": "Detect",
    **{f"models.common.{name}": name for name in ("Conv", "Bottleneck", "C3", "SPP", "SPPF", "Focus", "Concat")},
    "torch.nn.modules.container.Sequential": "Sequential",
    "torch.nn.modules.container.ModuleList": "ModuleList",
    "torch.nn.modules.conv.Conv2d": "Conv2d",
    "torch.nn.modules.batchnorm.BatchNorm2d": "BatchNorm2d",
    "torch.nn.modules.batchnorm.SyncBatchNorm": "BatchNorm2d",  # the same figures, over several devices in training
    **{f"torch.nn.modules.activation.{name}": name for name in ACTIVATIONS if name != "Identity"},
    "torch.nn.modules.linear.Identity": "Identity",
    "torch.nn.modules.pooling.MaxPool2d": "MaxPool2d",
    "torch.nn.modules.upsampling.Upsample": "Upsample",
}

# What only holds a network, and the name it stands under.
WRAPPERS: dict[str, str] = {
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "models.common.AutoShape": "model",
    "models.common.DetectMultiBackend": "model",
}

_BUILTINS = ("__builtin__", "builtins")
_TORCH_DATA = (
    "torch.device",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.torch_version.TorchVersion",
    "torch.storage.UntypedStorage",
    "torch.storage.TypedStorage",
    "torch.serialization._get_layout",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
)
_NUMPY_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMPY_C_INTEGERS = ("intc", "uintc", "longlong", "ulonglong")
_NUMPY_FLOATS = ("float16", "float32", "float64", "longdouble", "complex64", "complex128")
_NUMPY_OTHERS = ("bool_", "bool", "str_", "bytes_", "void", "object_", "datetime64", "timedelta64")
_NUMPY_DATA = (
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.{name}" for name in (*_NUMPY_INTEGERS, *_NUMPY_C_INTEGERS, *_NUMPY_FLOATS, *_NUMPY_OTHERS)),
    *(
        f"numpy.{core}.{name}"
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
    ),
)
_PATHS = tuple(
    f"{module}.{pure}{kind}Path"
    for module in ("pathlib", "pathlib._local")
    for pure in ("", "Pure")
    for kind in ("", "Posix", "Windows")
)
_DATES = tuple(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone"))
_BUILTIN_TYPES = ("object", "bool", "int", "float", "complex", "str", "list", "tuple", "dict", "bytes", "bytearray")
_BUILTIN_DATA = tuple(
    f"{module}.{name}" for module in _BUILTINS for name in (*_BUILTIN_TYPES, "slice", "range", "xrange", "long")
)
_STANDARD_DATA = (
    "argparse.Namespace",
    "zoneinfo.ZoneInfo",
    "zoneinfo.ZoneInfo._unpickle",
    "uuid.UUID",
    "uuid.SafeUUID",
    "decimal.Decimal",
    "fractions.Fraction",
    "types.SimpleNamespace",
    "collections.deque",
    "time.struct_time",
    "itertools.count",
    "re._compile",
    "logging.getLogger",
    "array._array_reconstructor",
)
_DATA = (*_TORCH_DATA, *_NUMPY_DATA, *_PATHS, *_DATES, *_BUILTIN_DATA, *_STANDARD_DATA)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._tensor._rebuild_from_type_v2": _rebuild_of_type,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
    "torch.Size": _same,
    **{f"collections.{name}": _dictionary for name in ("OrderedDict", "defaultdict", "Counter")},
    **{f"{module}.{kind}": _same for module in _BUILTINS for kind in ("set", "frozenset")},
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
_FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128")
_INTEGER_DTYPES = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "qint8", "quint8", "bool")
_DTYPES = (*_FLOAT_DTYPES, *_INTEGER_DTYPES)

# Everything a checkpoint of the releases v4.0 to v7.0 names, stripped or not, and common data beside the network.
REFERENCES: dict[str, Reference | ElementType] = {
    **{name: _inert(name) for name in (*MODULES, *WRAPPERS)},
    **{name: Reference(name, _placeholder(name)) for name in _DATA},
    **{f"{_PIP}{name}": _inert(f"{_PIP}{name}") for name in (*MODULES, *WRAPPERS) if name.startswith("models.")},
    **{name: Reference(name, call) for name, call in _FUNCTIONS.items()},
    **_ELEMENT_TYPES,
    **{f"torch.{name}": Reference(f"torch.{name}", _not_callable) for name in _DTYPES},
}


def unknown(name: str) -> Unknown:
    """What stands in for a name that is not in the table."""
    return Unknown(name, _placeholder(name))


def upstream_name(name: str) -> str:
    """A class as YOLOv5's own repository names it, without the prefix of the package."""
    return name.removeprefix(_PIP)
