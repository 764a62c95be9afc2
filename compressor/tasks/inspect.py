"""What a weights file of any kind holds, and weighs."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.artifact.load import fetch_and_load, stored_tensors
from compressor.artifact.save import Dtype, gzip_size, measure
from compressor.models.families import family_of
from compressor.plan.layers import Layer, convolutions, zero_fraction
from compressor.progress import Progress
from compressor.results.files import Inspection, StoredLayer
from compressor.run.folder import sha256


def inspect(weights: str, progress: Progress, *, weigh: bool = False) -> Inspection:
    """What a weights file of any kind holds; `weigh` also compresses it, and its tensors stored densely."""
    path, source = fetch_and_load(weights, progress)
    layers = convolutions(source.stored)
    held = stored_tensors(path, source)
    dtype: Dtype = "float16" if source.dtype == "float16" else "float32"
    sizes = None
    if weigh:
        with progress.step("gzip"):
            data = path.read_bytes()
            origin = (source.origin.form, source.origin.provenance) if source.origin else None
            sizes = measure(data, source.stored, data, dtype, origin)
    return Inspection(
        kind=source.kind,
        dtype=source.dtype,
        size_bytes=path.stat().st_size,
        sha256=sha256(path),
        model=family_of(source.model).summarise(source.model),
        names=source.model.names,
        anchors=source.model.spec.anchors,
        sparsity=zero_fraction(layers),
        facts=source.facts,
        layers=tuple(_stored_layer(layer, held[layer.name], gzipped=weigh) for layer in layers),
        recipe=source.recipe,
        sizes=sizes,
    )


def _stored_layer(layer: Layer, tensors: list[Tensor], *, gzipped: bool) -> StoredLayer:
    def raw(tensor: Tensor) -> bytes:
        return tensor.contiguous().view(torch.uint8).numpy().tobytes()

    return StoredLayer(
        **vars(layer.summary),
        dtype=str(tensors[0].dtype).removeprefix("torch."),
        layout="dense" if len(tensors) == 1 else "bitmask",
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        gzip_bytes=gzip_size(b"".join(map(raw, tensors))) if gzipped else None,
    )
