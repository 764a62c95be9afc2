"""Pickled modules beside the modules that their layer table makes: what would compute otherwise is refused by name.

Tensors do not tell of a padding, a pooling kernel or a shortcut. Every attribute that changes what a module computes in
evaluation mode is compared with the one of the module that is built. (BatchNorm's momentum, for one, counts in training
alone; channel counts are those of the tensors.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from compressor.errors import CheckpointError
from compressor.models.detector import Detector
from compressor.models.yolov5.blocks import Bottleneck, Concat, Conv
from compressor.models.yolov5.detect import Detect
from compressor.models.yolov5.module_tree import activation_in
from compressor.models.yolov5.pickles import unsupported
from compressor.models.yolov5.references import MODULES, Inert, upstream_name

Numbers = Callable[[Any], tuple[float, ...] | None]

_CONVOLUTION = ("stride", "padding", "dilation", "transposed", "output_padding", "groups", "padding_mode")
_POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_PAIRS = frozenset(("kernel_size", "stride", "padding", "dilation", "output_padding", "scale_factor"))
_ABSENT = object()


def check_modules(modules: Mapping[str, Inert], model: Detector, numbers: Numbers, path: str) -> None:
    """Refuse a file whose modules are not those of its layer table.

    Args:
        modules: of the file, by dotted name.
        model: what the layer table makes.
        numbers: values of a stored tensor or list of a few numbers; None for anything else.
        path: the file, for messages.

    Raises:
        CheckpointError: W304 with the module and the attribute.
    """
    expected = dict(model.named_modules())
    for name, module in modules.items():
        if name not in expected:
            _check_extra(module, name, path)
    for name, built in expected.items():
        if name not in modules:
            raise unsupported(path, f"a network without the {_kind(built)} {name}")
        module = modules[name]
        if name.endswith(".act") and isinstance(expected[name.removesuffix(".act")], Conv):
            _check_activation(module, name, model, path)
            continue
        if MODULES[upstream_name(module.name)] != _kind(built):
            raise unsupported(path, f"a {module.name} as {name}, where the layer table has a {_kind(built)},")
        _check_children(module, built, name, path)
        for attribute, wanted in computing(built):
            found = module.state.get(attribute, _ABSENT)
            if found is not _ABSENT and not _alike(attribute, found, wanted):
                raise _other(name, module, attribute, (found, wanted), path)
    _check_rows(modules, model, numbers, path)


def _kind(built: nn.Module) -> str:
    return "Model" if isinstance(built, Detector) else type(built).__name__


def _check_extra(module: Inert, name: str, path: str) -> None:
    """An Identity in BatchNorm's place is what some tools leave when they fold it."""
    if not (name.endswith(".bn") and MODULES[upstream_name(module.name)] == "Identity"):
        raise unsupported(path, f"the module {module.name} as {name}, which its layer table does not have,")


def _check_children(module: Inert, built: nn.Module, name: str, path: str) -> None:
    """Containers run their modules in the order they are held; an attribute hides a tensor or module of its name."""
    children = module.state["_modules"]
    if isinstance(built, nn.Sequential | nn.ModuleList) and list(children) != [
        key for key, _ in built.named_children()
    ]:
        raise unsupported(path, f"another order of modules in {name}")
    for held in (children, module.state["_parameters"], module.state["_buffers"]):
        for key in held:
            if key in module.state:
                raise unsupported(path, f"the attribute {key} of {name or 'the model'}, which hides what is stored,")


def computing(built: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes of a built module that change what it computes, by upstream's names."""
    match built:
        case nn.Conv2d():
            yield from ((name, getattr(built, name)) for name in _CONVOLUTION)
        case nn.BatchNorm2d():
            yield from ((name, getattr(built, name)) for name in ("eps", "affine", "track_running_stats"))
        case nn.MaxPool2d():
            yield from ((name, getattr(built, name)) for name in _POOLING)
        case nn.Upsample():
            corners = built.align_corners or None  # False is what bilinear does without it
            yield from (("size", None), ("scale_factor", built.scale_factor), ("mode", built.mode))
            yield "align_corners", corners
        case Bottleneck():
            yield "add", built.shortcut
        case Concat():
            yield "d", 1
        case Detect():
            yield from (("nc", built.nc), ("no", built.no), ("nl", built.levels), ("na", built.na))


def _alike(attribute: str, found: Any, wanted: Any) -> bool:
    if attribute == "align_corners":
        return (found or None) is wanted
    if attribute in _PAIRS:
        return _pair(found) == _pair(wanted)
    if isinstance(wanted, str) or wanted is None:
        return type(found) is type(wanted) and found == wanted
    return isinstance(found, bool | int | float) and found == wanted


def _pair(value: Any) -> tuple[Any, Any] | None:
    """Height and width, which may be stated as one number; None where it is neither."""
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    return pair if len(pair) == 2 and all(isinstance(number, int | float) for number in pair) else None


def _check_activation(module: Inert, name: str, model: Detector, path: str) -> None:
    found, wanted = activation_in(module, name, path), model.spec.activation
    if found != wanted:
        raise unsupported(path, f"the activation {found.text} of {name}, where the network's is {wanted.text},")


def _check_rows(modules: Mapping[str, Inert], model: Detector, numbers: Numbers, path: str) -> None:
    """Where layers take their input, and how many pixels a cell of the head is; both are attributes of the layers."""
    for index, row in enumerate(model.spec.rows):
        state = modules[f"model.{index}"].state
        sources = numbers(state["f"]) if isinstance(state.get("f"), list | tuple) else (state.get("f", _ABSENT),)
        wanted = tuple(source if source >= 0 else index + source for source in row.sources)
        if sources is None or (sources != (_ABSENT,) and _absolute(sources, index) != wanted):
            raise _other(f"model.{index}", modules[f"model.{index}"], "f", (state["f"], row.sources), path)
        if state.get("i", index) != index:
            raise _other(f"model.{index}", modules[f"model.{index}"], "i", (state["i"], index), path)
    head = f"model.{len(model.spec.rows) - 1}"
    for name in ("", head):
        stated = modules[name].state.get("stride")
        found = numbers(stated)
        if stated is not None and found != tuple(map(float, model.strides)):
            raise _other(name, modules[name], "stride", (stated if found is None else found, model.strides), path)


def _absolute(sources: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    return tuple(source + index if isinstance(source, int) and source < 0 else source for source in sources)


def _other(name: str, module: Inert, attribute: str, values: tuple[Any, Any], path: str) -> CheckpointError:
    found, wanted = map(_shown, values)
    what = f"{attribute} {found} of {name or 'the model'} ({module.name}), where its layer table makes {wanted},"
    return unsupported(path, what)


def _shown(value: Any) -> str:
    match value:
        case bool() | float() | None:
            return str(value)
        case int() if abs(value) < 2**63:
            return str(value)
        case str():
            return repr(value[:40])
        case list() | tuple() if len(value) <= 8 and not any(isinstance(item, list | tuple) for item in value):
            return f"({', '.join(_shown(item) for item in value)})"
    return "something else"
