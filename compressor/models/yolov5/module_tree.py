"""The modules of a pickled network, and the tensors in them: what they are called, and what stands between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from compressor.errors import CheckpointError
from compressor.models.yolov5.activation import Activation, activation
from compressor.models.yolov5.pickles import damaged, unsupported
from compressor.models.yolov5.references import MODULES, WRAPPERS, Inert, StoredTensor, upstream_name

MAX_NODES = 50_000  # YOLOv5x6 has about 3,000 modules and tensors; a module that contains itself would have no end
_MAX_DEPTH = 50
_PRUNING = "torch.nn.utils.prune."

_TASKS = {"Segment": "segmentation", "Classif": "classification", "Pose": "pose estimation", "OBB": "oriented box"}


@dataclass(frozen=True)
class Masked:
    """A tensor that `torch.nn.utils.prune` has pruned without making it permanent: the product of the two counts."""

    original: StoredTensor
    mask: StoredTensor


Source = StoredTensor | Masked


def unwrapped(root: Any) -> Any:
    """The network within what only holds it, such as DataParallel; anything else as it is."""
    for _ in range(len(WRAPPERS)):
        inner = WRAPPERS.get(upstream_name(root.name)) if isinstance(root, Inert) else None
        if inner is None:
            break
        root = root.state["_modules"][inner]
    return root


def modules_of(root: Inert, path: str) -> dict[str, Inert]:
    """Every module of a network under its dotted name, parents first; the root's is empty.

    Raises:
        CheckpointError: W302 the tree has no end or holds something else; W304 a module that is not supported.
    """
    found: dict[str, Inert] = {}
    visited = count()
    for name, module in _walk(root, "", visited, path):
        _check_kind(module, name, path)
        found[name] = module
    return found


def tensors_of(modules: Mapping[str, Inert], path: str) -> dict[str, Source]:
    """The tensors of the modules under their state-dict names.

    Raises:
        CheckpointError: W302 something else stands in a tensor's place.
    """
    tensors: dict[str, Source] = {}
    visited = count()
    for prefix, module in modules.items():
        temporary = module.state.get("_non_persistent_buffers_set", [])[:100]
        own: dict[str, StoredTensor] = {}
        for name, tensor in chain(module.state["_parameters"].items(), module.state["_buffers"].items()):
            full = f"{prefix}.{name}" if prefix else str(name)
            _check_visit(visited, name, prefix, path)
            if tensor is None or name in temporary:
                continue
            if not isinstance(tensor, StoredTensor) or full in own or full in tensors:
                raise damaged(path, f"{full} is not one tensor")
            own[full] = tensor
        tensors |= masked_together(own)
    return tensors


def masked_together(tensors: Mapping[str, StoredTensor]) -> dict[str, Source]:
    """The same, with each `weight_orig` and `weight_mask` as one masked `weight`."""
    found: dict[str, Source] = {}
    for name, tensor in tensors.items():
        base = name.removesuffix("_orig")
        mask = tensors.get(f"{base}_mask")
        if base != name and mask is not None and base not in tensors:
            found[base] = Masked(tensor, mask)
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in tensors):
            found[name] = tensor
    return found


def activation_of(modules: Mapping[str, Inert], path: str) -> Activation | None:
    """The activation of the network's first Conv block; None where it has no such module.

    Raises:
        CheckpointError: W304 it is not built here.
    """
    for name, module in modules.items():
        if MODULES[upstream_name(module.name)] == "Conv" and f"{name}.act" in modules:
            return activation_in(modules[f"{name}.act"], f"{name}.act", path)
    return None


def activation_in(module: Inert, name: str, path: str) -> Activation:
    """What a pickled activation computes.

    Raises:
        CheckpointError: W304 it is not built here.
    """
    kind = MODULES[upstream_name(module.name)]
    limits = tuple(module.state.get(limit) for limit in ("min_val", "max_val"))
    if kind == "ReLU6" and limits not in ((0, 6), (None, None)):  # torch's is a Hardtanh of these
        raise unsupported(path, f"a ReLU6 with other limits than 0 and 6, {name},")
    try:
        return activation(kind, module.state)
    except ValueError as error:
        raise unsupported(path, f"{error}, of {name},") from error


def _walk(module: Inert, name: str, visited: Iterator[int], path: str) -> Iterator[tuple[str, Inert]]:
    yield name, module
    for child_name, child in module.state["_modules"].items():
        _check_visit(visited, child_name, name, path)
        full = f"{name}.{child_name}" if name else child_name
        if isinstance(child, Inert):
            yield from _walk(child, full, visited, path)
        elif child is not None:
            raise damaged(path, f"{full} is not a module")


def _check_visit(visited: Iterator[int], name: Any, parent: str, path: str) -> None:
    if next(visited) > MAX_NODES or parent.count(".") > _MAX_DEPTH:
        raise damaged(path, "its modules contain each other without end")
    if not isinstance(name, str) or len(name) > 100:
        raise damaged(path, f"a module or tensor below {parent or 'the root'} has no proper name")


def _check_kind(module: Inert, name: str, path: str) -> None:
    """Refuse classes that are not known, and what is done to an image beside them."""
    where = f" of {name}" if name else ""
    if upstream_name(module.name) not in MODULES:
        raise unsupported_module(module, where, path)
    for hooks in ("_forward_hooks", "_forward_pre_hooks"):
        for hook in (module.state.get(hooks) or {}).values():
            kind = hook.name if isinstance(hook, Inert) else "a function"
            if not kind.startswith(_PRUNING):
                raise unsupported(path, f"the hook {kind[:100]}{where}, which changes what the module computes,")
    method = module.state.get("forward")
    fused = isinstance(method, Inert) and method.state.get("name") in ("forward_fuse", "fuseforward")
    if method is not None and not (fused and module.state["_modules"].get("bn") is None):
        raise unsupported(path, f"the method `forward`{where}, which replaces the class's own,")


def unsupported_module(module: Inert, where: str, path: str) -> CheckpointError:
    """W304 for a class that is not known, in the words of what it is.

    Args:
        module: an object of it.
        where: ` of model.2`, or nothing of the root.
        path: the file.
    """
    name = module.name[:100]
    kind = name.rpartition(".")[2]
    task = next((task for part, task in _TASKS.items() if part in kind), None)
    if task is not None:
        return unsupported(path, f"a {task} model ({name}{where})")
    if name.startswith("ultralytics."):
        return unsupported(path, f"a model of the ultralytics package, YOLOv8 or later ({name}{where}),")
    if upstream_name(name).startswith("models.") or name.startswith("torch."):
        return unsupported(path, f"the module {name}{where}")
    help_text = (
        "a fork may compute otherwise. Where its blocks are YOLOv5's own, save its state dict there, "
        "torch.save(model.state_dict(), 'weights.pt'), and name that file"
    )
    if kind in _UPSTREAMS:
        return unsupported(path, f"a fork of YOLOv5, whose {kind} is called {name}{where},", help_text)
    return unsupported(path, f"the class {name}{where}", help_text)


_UPSTREAMS = frozenset(name.rpartition(".")[2] for name in (*MODULES, *WRAPPERS) if name.startswith("models."))
