import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from compressor.artifact.load import load_model
from compressor.artifact.save import (
    METADATA_KEY,
    Form,
    Layout,
    Provenance,
    encode_model,
    round_to_dtype,
    unfolded_storage,
)
from compressor.errors import ArtifactError, CheckpointError
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import architecture_to_yaml, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.zeros import prune
from compressor.plan.layers import convolutions
from compressor.recipe.modifiers import Prune
from tests.decoded import predict
from trials.tiny import NAMES, tiny_model

FROM = Provenance({"version": 1}, "tiny.pt", "ab" * 32)


def pruned(*, fused: bool = True, sparsity: float = 0.6) -> Detector:
    model = tiny_model(fused=fused)
    prune(convolutions(model), Prune(type="prune", allocation="global", sparsity=sparsity))
    return model


@pytest.mark.parametrize("layout", ["bitmask", "dense"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("fused", [True, False])
def test_loads_back_bit_for_bit_and_saves_the_same_bytes(
    tmp_path: Path, layout: Layout, dtype: str, fused: bool
) -> None:
    model = pruned(fused=fused)
    round_to_dtype(model, dtype)  # type: ignore[arg-type]  # one of the two literals
    data = encode_model(model, Form(dtype, layout), FROM)  # type: ignore[arg-type]  # as above
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    loaded = load_model(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    assert loaded.model.names == NAMES
    assert loaded.model.spec == model.spec
    assert loaded.dtype == dtype
    assert encode_model(loaded.model, Form(dtype, layout), FROM) == data  # type: ignore[arg-type]  # as above
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(predict(loaded.model, image), predict(model, image))


def test_bitmask_is_smaller_and_leaves_tensors_dense_that_would_not_shrink(tmp_path: Path) -> None:
    model = pruned(sparsity=0.6)
    stem = convolutions(model)[0]
    stem.weight.fill_(1.0)
    sparse, dense = (encode_model(model, Form("float16", layout), FROM) for layout in ("bitmask", "dense"))
    assert len(sparse) < len(dense)
    (tmp_path / "m.safetensors").write_bytes(sparse)
    names = load_file(tmp_path / "m.safetensors").keys()
    assert "model.0.conv.weight" in names
    assert "model.8.cv3.conv.compressed" in names


def test_metadata_is_one_canonical_json_text(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(encode_model(pruned(), Form("float16", "bitmask"), FROM))
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert list(metadata) == [METADATA_KEY]
    document = json.loads(metadata[METADATA_KEY])
    assert metadata[METADATA_KEY] == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert document["source"] == {"name": "tiny.pt", "sha256": "ab" * 32}


def test_rounding_to_float16_is_exact_for_its_values_and_refuses_overflow() -> None:
    model = tiny_model(fused=True)
    weight = convolutions(model)[3].weight
    weight.view(-1)[0] = 1e-9
    round_to_dtype(model, "float16")
    assert weight.view(-1)[0] == 0
    assert torch.equal(weight.half().float(), weight)
    weight.view(-1)[0] = 1e6
    with pytest.raises(ArtifactError, match="A501"):
        round_to_dtype(model, "float16")


def test_tampered_weight_is_found_by_its_digest(tmp_path: Path) -> None:
    data = bytearray(encode_model(pruned(), Form("float16", "bitmask"), FROM))
    data[-1] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="W302"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("data", [b"", b"\x00" * 8, b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_files_that_are_no_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="W30"):
        load_model(tmp_path / "m.safetensors")


def test_plain_state_dict_is_rebuilt_from_its_metadata(tmp_path: Path) -> None:
    model = tiny_model()
    metadata = {
        "names": json.dumps(NAMES),
        "yaml": json.dumps(architecture_to_yaml(model.spec)),
        "strides": json.dumps(model.strides),
    }
    save_file(model.state_dict(), tmp_path / "m.safetensors", metadata)
    loaded = load_model(tmp_path / "m.safetensors").model
    assert loaded.names == NAMES
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_plain_state_dict_without_metadata_is_recognised_by_its_shapes(shared: Path, tmp_path: Path) -> None:
    tensors = load_file(shared / "data" / "weights" / "yolov5n_coco.safetensors")
    save_file(tensors, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors").model
    assert loaded.spec.name == "YOLOv5n"
    assert np.allclose(loaded.spec.anchors[0], [(10, 13), (16, 30), (33, 23)])
    official = load_model(shared / "data" / "weights" / "yolov5n_coco.safetensors").model
    assert official.names[:2] == ("person", "bicycle")
    assert load_model(shared / "data" / "weights" / "yolov5n_coco.pt").model.names == official.names


def test_zeros_in_a_folded_model_are_stored_without_rounding(tmp_path: Path) -> None:
    raw = tiny_model()
    round_to_dtype(raw, "float16")  # as a checkpoint's weights are
    model = fuse(copy.deepcopy(raw))
    prune(convolutions(model), Prune(type="prune", allocation="global", sparsity=0.6))
    stored = unfolded_storage(model, raw, "float16")
    assert stored is not None
    (tmp_path / "m.safetensors").write_bytes(encode_model(stored, Form("float16", "bitmask", fold_on_load=True), FROM))
    loaded = load_model(tmp_path / "m.safetensors").model
    assert loaded.fused
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_other_changes_to_a_folded_model_have_no_such_storage() -> None:
    raw = tiny_model()
    round_to_dtype(raw, "float16")
    model = fuse(copy.deepcopy(raw))
    convolutions(model)[4].weight.view(-1)[0] += 0.1
    assert unfolded_storage(model, raw, "float16") is None
    precise = tiny_model()  # float32 weights that float16 cannot hold
    assert unfolded_storage(fuse(copy.deepcopy(precise)), precise, "float16") is None


def plain_file(folder: Path, model: Detector, **metadata: object) -> Path:
    described = {"yaml": architecture_to_yaml(model.spec), **metadata}
    save_file(
        model.state_dict(), folder / "m.safetensors", {key: json.dumps(value) for key, value in described.items()}
    )
    return folder / "m.safetensors"


def test_names_may_be_a_mapping_as_yolov5_writes_them(tmp_path: Path) -> None:
    path = plain_file(tmp_path, tiny_model(), names={"0": "disc", "1": "box", "2": "bar"}, strides=[4, 8, 16])
    loaded = load_model(path).model
    assert loaded.names == NAMES
    assert np.allclose(loaded.spec.anchors[0], [(10, 13), (16, 30), (33, 23)])  # whatever strides the file claims


@pytest.mark.parametrize("names", ["disc", [[1], [2], [3]], {"a": "b"}, ["disc"]])
def test_names_that_are_none_are_refused(tmp_path: Path, names: object) -> None:
    with pytest.raises(CheckpointError, match="W302"):
        load_model(plain_file(tmp_path, tiny_model(), names=names))


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    model = tiny_model()
    convolutions(model)[2].weight.view(-1)[:3] = float("nan")
    with pytest.raises(CheckpointError, match=r"W306 model.2.cv1.conv.weight holds 3 values"):
        load_model(plain_file(tmp_path, model))


def test_plain_state_dict_of_four_feature_maps_is_recognised_too(tmp_path: Path) -> None:
    save_file(build(stock_architecture("v6", "n6", nc=2)).state_dict(), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").model.spec.name == "YOLOv5n6"
