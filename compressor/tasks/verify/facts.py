"""What the files of a run say by themselves, whatever its run.json says of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compressor.artifact.load import LoadedModel, Origin, load_model
from compressor.artifact.save import Provenance, measure
from compressor.data.fetch import weights_at_hand
from compressor.errors import CompressorError
from compressor.files.reading import regular_size
from compressor.models.convolution import Convolution
from compressor.models.detector import sparsity
from compressor.models.families import family_of
from compressor.plan.layers import convolutions
from compressor.results.files import FileDigest, Sizes
from compressor.results.network import LayerSparsity, ModelSummary
from compressor.run.folder import sha256


@dataclass(frozen=True, eq=False)
class Source:
    """The weights that a run began with, found on this machine.

    Attributes:
        path: the file; its digest is the recorded one.
        model: what it holds.
    """

    path: Path
    model: LoadedModel

    def zeros(self, *, folded: bool) -> Mapping[str, int]:
        """Zeros of every convolution, with BatchNorm folded into it or as the file has it."""
        model = family_of(self.model.model).fold(copy.deepcopy(self.model.model)) if folded else self.model.model
        return {layer.name: layer.zeros for layer in convolutions(model)}


@dataclass(frozen=True, eq=False)
class Facts:
    """What an artifact gives.

    Attributes:
        version: of compressor, by which it says it was made.
        provenance: where it says that it comes from.
        names: class names.
        convolutions: of its network, in order.
        layers: their zeros.
        all_parameters: fraction of all parameters that is zero.
        model: the summary of its network.
        dense: the summaries of a network of its layer table, by whether BatchNorm is folded.
        sizes: of its tensors; `source` is that of the weights only where these are at hand.
        source: the weights it was made from; None where they are not at hand.
    """

    version: str
    provenance: Provenance
    names: tuple[str, ...]
    convolutions: tuple[Convolution, ...]
    layers: tuple[LayerSparsity, ...]
    all_parameters: float
    model: ModelSummary
    dense: Mapping[bool, ModelSummary]
    sizes: Sizes
    source: Source | None


def facts_of(
    loaded: LoadedModel, origin: Origin, artifact: bytes, source: Source | None, *, dense_as_written: bool
) -> Facts:
    """Everything that an artifact gives.

    Args:
        loaded: the artifact.
        origin: what it says of how it was made.
        artifact: its bytes.
        source: the weights it was made from.
        dense_as_written: how the run weighed the dense files, see `Sizes`.
    """
    made = (origin.form, origin.provenance) if dense_as_written else None
    read = source.path.read_bytes() if source else b""
    layers = convolutions(loaded.model)
    family, spec, names = family_of(loaded.model), loaded.model.spec, loaded.model.names
    empty = {folded: family.build(spec, names, fused=folded).eval().requires_grad_(False) for folded in (False, True)}
    return Facts(
        version=origin.version,
        provenance=origin.provenance,
        names=names,
        convolutions=tuple(layer.convolution for layer in layers),
        layers=tuple(layer.summary for layer in layers),
        all_parameters=sparsity(loaded.model),
        model=family.summarise(loaded.model),
        dense={folded: family.summarise(network) for folded, network in empty.items()},
        sizes=measure(read, loaded.stored, artifact, origin.form.dtype, made),
        source=source,
    )


def source_at_hand(recorded: FileDigest) -> Source | None:
    """The weights of a run where they are named or in the cache, if their digest is the same; never downloaded."""
    path = weights_at_hand(recorded.path)
    try:
        if path is None or regular_size(path) != recorded.size_bytes or sha256(path) != recorded.sha256:
            return None
        return Source(path, load_model(path))
    except (OSError, CompressorError):
        return None
