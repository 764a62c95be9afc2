"""What a run found out, as frozen data, and its way into run.json and out again.

Nothing here imports torch: `diff` reads runs without it. Fractions are in [0, 1]; a figure that is undefined (no such
objects) is None, `null` in JSON, never NaN.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from compressor.errors import Diagnostic, InputError

RUN_SCHEMA = "compressor/run/1"
GZIP_LEVEL = 1  # higher levels shrink weights by a few per cent more and take many times as long
EVALUATION_SCHEMA = "compressor/evaluation/1"


@dataclass(frozen=True)
class CocoMetrics:
    """The 12 figures of pycocotools, in its order: AP and AR over IoU 0.50:0.95 unless named otherwise."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None


@dataclass(frozen=True)
class DetectionMetrics:
    """YOLOv5's own figures: class means at the confidence of best F1 (P, R), and its own mAP."""

    P: float
    R: float
    mAP50: float
    mAP50_95: float


@dataclass(frozen=True)
class ClassMetrics:
    """One class, by YOLOv5's own metric.

    Attributes:
        index: class index.
        name: class name.
        images: images holding at least one object of the class.
        instances: objects of the class.
    """

    index: int
    name: str
    images: int
    instances: int
    P: float
    R: float
    AP50: float
    AP50_95: float


@dataclass(frozen=True)
class Metrics:
    """How well a model detects on one data set."""

    coco: CocoMetrics
    detection: DetectionMetrics
    classes: tuple[ClassMetrics, ...]


@dataclass(frozen=True)
class Speed:
    """Mean time per image in milliseconds; preprocess is the copy to the device, the cast and the division by 255."""

    preprocess_ms: float
    inference_ms: float
    nms_ms: float


@dataclass(frozen=True)
class EvaluationSettings:
    """How a model was judged."""

    image_size: int
    batch_size: int
    conf_thres: float
    iou_thres: float
    max_det: int
    resize: str
    device: str
    precision: str
    runs_on: str = "torch"


@dataclass(frozen=True)
class DataSummary:
    """What was judged on.

    Attributes:
        source: the dataset YAML as the user named it.
        split: train, val or test.
        images: images used.
        instances: labelled objects in them.
        backgrounds: images without objects.
        skipped: one sentence per image or label file that was left out or amended, and why.
        ground_truth: `labels`, or the COCO annotation file.
        sha256: digest over the names and bytes of images and labels used.
    """

    source: str
    split: str
    images: int
    instances: int
    backgrounds: int
    skipped: tuple[str, ...]
    ground_truth: str
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """One model judged on one data set."""

    metrics: Metrics
    speed: Speed
    data: DataSummary
    settings: EvaluationSettings


@dataclass(frozen=True)
class ModelSummary:
    """What upstream prints of a model, and what it is."""

    name: str
    generation: str
    nc: int
    fused: bool
    layers: int
    parameters: int
    gradients: int
    gflops: float
    strides: tuple[int, ...]


@dataclass(frozen=True)
class LayerChange:
    """One weight tensor before and after a step.

    Attributes:
        name: module name, such as `model.2.cv1.conv`.
        role: stem, backbone, neck or detect.
        shape: (C_out, C_in, kH, kW).
        weights: number of weights.
        pruned: weights the mask drops; exact.
        zeros_before: weights that were exactly zero before the step.
        zeros_after: weights that are exactly zero after it: what the mask drops and what was zero already.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    weights: Annotated[int, Field(gt=0)]
    pruned: int
    zeros_before: int
    zeros_after: int

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that are zero after the step."""
        return self.zeros_after / self.weights


@dataclass(frozen=True)
class Change:
    """What one modifier did."""

    modifier: str
    summary: str
    layers: tuple[LayerChange, ...]

    @property
    def prunes(self) -> bool:
        """Whether it sets weights to zero; else it changes those that are left."""
        return self.modifier == "prune"

    @property
    def weights(self) -> int:
        """Targeted weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def pruned(self) -> int:
        """Targeted weights the masks drop."""
        return sum(layer.pruned for layer in self.layers)

    @property
    def zeros(self) -> int:
        """Targeted weights that are zero after the step."""
        return sum(layer.zeros_after for layer in self.layers)


@dataclass(frozen=True)
class LayerSparsity:
    """Zeros of one convolution in the finished model."""

    name: str
    role: str
    shape: tuple[int, ...]
    weights: Annotated[int, Field(gt=0)]
    zeros: int


@dataclass(frozen=True)
class StoredLayer(LayerSparsity):
    """How a file holds one convolution's weight.

    Attributes:
        dtype: number type of its values.
        layout: `bitmask` or `dense`.
        size_bytes: of its tensors, without their entries in the file's header.
        gzip_bytes: of these tensors compressed; None where that was not asked for.
    """

    dtype: str
    layout: str
    size_bytes: int
    gzip_bytes: int | None


@dataclass(frozen=True)
class Inspection:
    """What a weights file holds.

    Attributes:
        kind: what sort of file it is.
        dtype: number type of its weights.
        size_bytes: of the file.
        sha256: of the file.
        model: the summary upstream prints.
        names: class names.
        anchors: per level, (width, height) in input pixels.
        sparsity: fraction of the convolution weights that is zero.
        facts: what else the file tells.
        layers: every convolution.
        recipe: the recipe that made it, None where compressor did not.
        sizes: the file beside the same tensors stored densely, raw and gzipped; None where that was not asked for.
    """

    kind: str
    dtype: str
    size_bytes: int
    sha256: str
    model: ModelSummary
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    sparsity: float
    facts: dict[str, str]
    layers: tuple[StoredLayer, ...]
    recipe: dict[str, Any] | None
    sizes: Sizes | None = None


@dataclass(frozen=True)
class SparsitySummary:
    """Zeros of the finished model, counted three ways; fractions in [0, 1]."""

    targeted: float
    conv_weights: float
    all_parameters: float


@dataclass(frozen=True)
class FileSize:
    """One file's size on disk and compressed with gzip at `GZIP_LEVEL`, in bytes."""

    size_bytes: int
    gzip_bytes: int


@dataclass(frozen=True)
class Sizes:
    """File sizes of the same model, so that the dtype's and the sparsity's shares can be told apart.

    Attributes:
        source: the checkpoint as it came.
        dense_float32: all tensors of the finished model, dense, in float32.
        dense: the same in the artifact's dtype.
        artifact: the artifact.
    """

    source: FileSize
    dense_float32: FileSize
    dense: FileSize
    artifact: FileSize


@dataclass(frozen=True)
class Try:
    """One sparsity that a search tried.

    Attributes:
        sparsity: fraction of the targeted weights; None is the model before the modifiers.
        AP: on `images` images; None where the search is for a size.
        images: how many it was judged on.
        size_bytes: of the file; None where the search is for AP.
    """

    sparsity: float | None
    AP: float | None = None
    images: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Search:
    """How a budget became a sparsity.

    Attributes:
        modifier: index of the modifier that asks for it.
        goal: the budget as a phrase.
        sparsity: what was found.
        baseline_AP: of the model before the modifiers, on all images; None where the search is for a size.
        tries: in their order.
    """

    modifier: int
    goal: str
    sparsity: float
    baseline_AP: float | None
    tries: tuple[Try, ...]


@dataclass(frozen=True)
class FileDigest:
    """A file by name and SHA-256."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Environment:
    """Where a run was made."""

    compressor: str
    python: str
    platform: str
    processor: str
    cores: int
    device: str
    packages: dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """Everything about one run: what report.md is rendered from and run.json holds.

    Attributes:
        name: the recipe's file name without its ending.
        command: the command line.
        started: UTC time, ISO 8601.
        duration_s: wall time of the run in seconds.
        recipe: the resolved recipe, after extends and overrides.
        weights: the source checkpoint.
        model: the model the modifiers were given.
        compressed_model: the model that was saved.
        changes: one per modifier, in order.
        layers: every convolution of the finished model.
        baseline: judgement before the modifiers, None when it was not asked for.
        compressed: judgement after them, None with `--no-evaluate`.
        search: how a budget in the recipe became the sparsity that `recipe` holds; None where there is none.
        warnings: everything skipped, amended or left out, one sentence each.
        files: what the run wrote, by file name.
    """

    name: str
    command: str
    started: str
    duration_s: float
    recipe: dict[str, Any]
    weights: FileDigest
    model: ModelSummary
    compressed_model: ModelSummary
    changes: tuple[Change, ...]
    layers: tuple[LayerSparsity, ...]
    sparsity: SparsitySummary
    sizes: Sizes
    baseline: Evaluation | None
    compressed: Evaluation | None
    environment: Environment
    search: Search | None = None
    warnings: tuple[str, ...] = ()
    files: tuple[FileDigest, ...] = ()
    schema: str = field(default=RUN_SCHEMA)


def to_json(record: Any, **head: Any) -> str:
    """A frozen record as indented JSON in full precision, `head` keys first, ending in a newline."""
    return json.dumps({**head, **asdict(record)}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def load_run(path: Path) -> RunRecord:
    """Read a run folder, or a run.json.

    Raises:
        InputError: U901 no such run; U902 not a run.json this version reads.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        record = _RUN.validate_json(file.read_bytes())
    except OSError as fault:
        help_text = "name a folder that `compressor apply` wrote, or its run.json"
        raise InputError(
            Diagnostic("U901", f"no run here: {fault.strerror or fault}", str(file), help=help_text)
        ) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = f"not a run record: {place or 'the document'}: {first['msg']}"
        raise InputError(Diagnostic("U902", message, str(file), help="run `compressor apply` again")) from fault
    if record.schema != RUN_SCHEMA:
        message = f"schema {record.schema!r}, this version reads {RUN_SCHEMA!r}"
        raise InputError(Diagnostic("U902", message, str(file), help="run `compressor apply` again"))
    return record


_RUN = TypeAdapter(RunRecord)
