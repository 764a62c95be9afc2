"""A plain safetensors file with upstream's key names: every weight as it is, zeros included."""

from __future__ import annotations

from safetensors.torch import save as to_bytes

from compressor.artifact.save import STATE_DICT_KEY, Dtype, canonical_json, dense_tensors
from compressor.export.mark import EXPORTED_BY
from compressor.models.detector import Detector
from compressor.models.families import family_of
from compressor.version import __version__


def state_dict_bytes(stored: Detector, dtype: Dtype) -> bytes:
    """The file's bytes; the same for the same model.

    Args:
        stored: the network as its file holds it.
        dtype: of the weights.
    """
    described = {
        EXPORTED_BY: f"compressor {__version__}",
        "names": list(stored.names),
        "stride": list(stored.strides),
        "yaml": family_of(stored).describe(stored.spec),
    }
    return to_bytes(dense_tensors(stored, dtype), {STATE_DICT_KEY: canonical_json(described)})
