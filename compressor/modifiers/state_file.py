"""A state between two steps as files, and back: what a resumed run goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.modifiers.state import State

_TENSORS, _FACTS = "state.safetensors", "state.json"
_MODEL, _SETTLED = "model/", "settled/"


def packed(state: State) -> dict[str, bytes]:
    """The state as files by name; the source and the dense network are left out, since no step changes them."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in state.model.state_dict().items()}
    tensors |= {f"{_SETTLED}{name}": zeros for name, zeros in state.settled.items()}
    facts = {
        "spec": family_of(state.model).describe(state.model.spec),
        "groups": state.groups,
        "formats": state.formats,
    }
    return {_TENSORS: save(_on_cpu(tensors)), _FACTS: json.dumps(facts).encode()}


def restore(state: State, files: Mapping[str, bytes]) -> None:
    """Bring a state to what `packed` gave files of; its model is another one where that has other shapes.

    Raises:
        KeyError, ValueError: the files are not those of a state of this network.
    """
    facts, tensors = json.loads(files[_FACTS]), load(files[_TENSORS])
    family = family_of(state.model)
    if facts["spec"] != json.loads(json.dumps(family.describe(state.model.spec))):
        spec = family.read_spec(facts["spec"], _FACTS)
        built = family.build(spec, state.model.names, fused=state.model.fused)
        state.model = built.eval().requires_grad_(requires_grad=False)
    put_tensors(state.model, below(_MODEL, tensors))
    state.settled, state.groups, state.formats = below(_SETTLED, tensors), facts["groups"], facts["formats"]


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def put_tensors(model: Detector, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a network, in place, so that whoever shares its memory sees them.

    Raises:
        KeyError: there is none for a tensor of the network.
    """
    for name, tensor in model.state_dict().items():
        tensor.copy_(tensors[name])


def tensors_of(model: Detector) -> dict[str, Tensor]:
    """The tensors of a network, on the CPU, as they are now."""
    return _on_cpu(model.state_dict())


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
