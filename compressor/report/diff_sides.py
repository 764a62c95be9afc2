"""Reads one side of a comparison, without torch: a run folder, a run.json or an artifact."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor.errors import Diagnostic, InputError
from compressor.files.reading import MODEL_BYTES, regular_size
from compressor.results.evaluation import Evaluation
from compressor.results.network import LayerSparsity
from compressor.results.run import RunRecord, load_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Masks = dict[str, NDArray[np.uint8]]

ARTIFACT = "model.safetensors"  # in a run folder
TENSORS = "tensors sha256"  # over the digests of all tensors of the artifact
_METADATA = "compressor"  # key of an artifact's metadata
_CONVOLUTION = 4  # dimensions of its weight


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: in the tables.
        recipe: the resolved recipe.
        inputs: digests of weights and data.
        before: evaluation of the model before the modifiers; None if there is none.
        after: evaluation of the model after them; None if there is none.
        layers: zeros of every convolution.
        sizes: in bytes, by name.
        exports: evaluations of other formats, by file name.
        environment: the machine and packages of the run.
        artifact: the file to read masks from; None if there is none.
        whole: True for a run; False for an artifact alone, which has no figures, data or environment.
    """

    name: str
    recipe: dict[str, Any]
    inputs: dict[str, str | None]
    before: Evaluation | None
    after: Evaluation | None
    layers: tuple[LayerSparsity, ...]
    sizes: dict[str, int]
    exports: dict[str, Evaluation] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    artifact: Path | None = None
    whole: bool = True


def load_side(place: Path) -> Side:
    """Read a run folder, a run.json or an artifact.

    Raises:
        InputError: U901 it does not exist; U902 it is something else.
    """
    if place.suffix == Path(ARTIFACT).suffix and place.is_file():
        return _artifact_side(place)
    artifact = place / ARTIFACT if place.is_dir() else place.parent / ARTIFACT
    return side_of(load_run(place), artifact if artifact.is_file() else None)


def side_of(run: RunRecord, artifact: Path | None) -> Side:
    """A run as one side."""
    evaluation = run.compressed or run.baseline
    weighed = ("source", "dense_float32", "dense", "artifact")
    sizes = {name.replace("_", " "): getattr(run.sizes, name).size_bytes for name in weighed}
    environment = asdict(run.environment)
    packages = environment.pop("packages")
    return Side(
        name=run.name,
        recipe=run.recipe,
        inputs={
            "weights sha256": run.weights.sha256,
            "data sha256": evaluation.data.sha256 if evaluation else None,
            TENSORS: _tensors_sha256(_metadata(artifact)) if artifact else None,
        },
        before=run.baseline,
        after=run.compressed,
        layers=run.layers,
        sizes=sizes | {export.path: export.size_bytes for export in run.exports},
        exports={export.path: export.evaluation for export in run.exports if export.evaluation},
        environment={**environment, **packages},
        artifact=artifact,
    )


def masks(artifact: Path) -> Masks:
    """Bitmasks of the weights that are not zero, by layer: (C_out, ceil(columns / 8)) bytes, first column lowest bit.

    Raises:
        InputError: U902 the file is damaged.
    """
    import numpy as np  # noqa: PLC0415  # `diff` of runs does not need it
    from safetensors import safe_open  # noqa: PLC0415  # as above

    found: Masks = {}
    try:
        shapes = {name: record["shape"] for name, record in _metadata(artifact)["tensors"].items()}
        with safe_open(artifact, "np") as file:
            stored = set(file.keys())
            for name, shape in shapes.items():
                if len(shape) != _CONVOLUTION:
                    continue
                if min(shape) < 1:
                    raise ValueError(f"{name} has the shape {shape}")
                layer = name.removesuffix(".weight")
                if name in stored:
                    kept = file.get_tensor(name).reshape(shape[0], -1) != 0
                    found[layer] = np.packbits(kept, axis=-1, bitorder="little")
                else:
                    found[layer] = file.get_tensor(f"{layer}.bitmask")
    except Exception as error:  # safetensors' errors and numpy's share no class
        raise _no_artifact(artifact, str(error)) from error
    return found


def kept(mask: NDArray[np.uint8]) -> int:
    """The number of weights that a mask keeps."""
    import numpy as np  # noqa: PLC0415  # as above

    return int(np.bitwise_count(mask).sum(dtype=np.int64))


def _artifact_side(file: Path) -> Side:
    metadata = _metadata(file)
    bits = masks(file)
    layers = []
    for name, record in metadata["tensors"].items():
        layer, shape = name.removesuffix(".weight"), tuple(record["shape"])
        if layer in bits:
            weights = math.prod(shape)
            layers.append(LayerSparsity(layer, "", shape, weights, weights - kept(bits[layer])))
    return Side(
        name=file.name,
        recipe=metadata["recipe"],
        inputs={
            "weights sha256": metadata["source"]["sha256"],
            "data sha256": None,
            TENSORS: _tensors_sha256(metadata),
        },
        before=None,
        after=None,
        layers=tuple(layers),
        sizes={"artifact": file.stat().st_size},
        artifact=file,
        whole=False,
    )


def _tensors_sha256(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata["tensors"], sort_keys=True).encode()).hexdigest()


def _metadata(file: Path) -> dict[str, Any]:
    from safetensors import safe_open  # noqa: PLC0415  # as above

    try:
        regular_size(file, MODEL_BYTES)
        with safe_open(file, "np") as opened:
            found: dict[str, Any] = json.loads((opened.metadata() or {})[_METADATA])
        if not all(isinstance(found[key], dict) for key in ("tensors", "recipe", "source")):
            raise ValueError("its metadata are not an artifact's")
        found["source"]["sha256"]
    except Exception as error:  # safetensors' errors share no class
        raise _no_artifact(file, str(error)) from error
    return found


def _no_artifact(file: Path, why: str) -> InputError:
    message = f"not an artifact of compressor: {why.splitlines()[0][:200] if why else 'it is damaged'}"
    help_text = "name a run folder, a run.json or the model.safetensors of a run"
    return InputError(Diagnostic("U902", message, str(file), help=help_text))
