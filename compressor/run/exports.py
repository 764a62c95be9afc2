"""The model in the formats of other tools: each written, compared with the model on images, and judged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from compressor.artifact.load import LoadedModel, fetch_and_load
from compressor.data.batches import fit_image_size
from compressor.data.calibration import draw, find_calibration_images, load_images
from compressor.data.dataset import SHAPES
from compressor.errors import ArtifactError, DatasetError, Diagnostic
from compressor.evaluation.evaluate import Evaluator
from compressor.evaluation.network import Network, Suppression, inference_network, limited
from compressor.export.extras import needed
from compressor.export.open import open_network
from compressor.export.write import Options, write
from compressor.files.store import StepName, Steps
from compressor.files.writing import staged
from compressor.files.written import put
from compressor.models.strides import image_step
from compressor.plan.layers import convolutions
from compressor.progress import Progress, warn_of
from compressor.recipe.exports import TRAITS, Export, ExportFormat, traits_of
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.evaluation import Evaluation
from compressor.results.run import Agreement, Exported

_TOLD = "exported.json"
_EXPORTED = TypeAdapter(Exported)
CHECK_IMAGES = 8  # on which an exported file is compared with the model


def check_runtimes(formats: Iterable[ExportFormat]) -> None:
    """Refuse formats that cannot be written here, before any work is done.

    Raises:
        InputError: U912 a package is not installed.
    """
    for form in formats:
        for package in TRAITS[form].packages:
            needed(package)


def export_file(
    weights: str,
    form: ExportFormat,
    options: Options,
    images_from: str,
    output: Path,
    check: Callable[[], None],
    progress: Progress,
) -> Agreement:
    """Write a weights file in another tool's format; what was there is replaced when the new file is proved.

    Args:
        weights: a checkpoint, artifact or state dict.
        form: the format.
        options: how.
        images_from: a folder of images, or a data set, to compare on.
        output: file or folder.
        check: refuses what has come to `output` meanwhile.
        progress: told of every step.

    Raises:
        CompressorError: any fault of the input, or of what was written.
    """
    with progress.step(f"load {weights}"):
        _, loaded = fetch_and_load(weights, progress)
    warn_of(progress, loaded.warnings, "")
    for caution in cautions(form, loaded):
        progress.warn(caution)
    size = fit_image_size(options.image_size, image_step(loaded.model.strides))
    with progress.step(f"read {images_from}"):
        images = _read(_drawn(find_calibration_images(images_from, "val", progress.warn)), size)
    with staged(output) as folder, progress.step(f"export {form}"):
        place = folder / output.name
        agreement = write(loaded, form, replace(options, image_size=size), images, place)
        if agreement is None:
            help_text = "compare on images with objects that it knows: --images FOLDER; or lower --conf-thres"
            message = "the model detects nothing on the images to compare on"
            raise ArtifactError(Diagnostic("A503", message, output.name, help=help_text))
        check()
        put(place, output, progress)
    return agreement


def cautions(form: str, loaded: LoadedModel) -> tuple[str, ...]:
    """What whoever trains on from an exported file should know, one sentence each."""
    if not traits_of(form).trained_on:
        return ()
    told = []
    if loaded.stored.fused:
        told.append(
            "BatchNorm is folded in this model: the .pt computes the same, but YOLOv5's training starts poorly from it "
            "(mAP50 after one epoch .06 where .35 comes of a model with BatchNorm); to train on, compress with "
            "model.fuse: never"
        )
    zeros = sum(layer.zeros for layer in convolutions(loaded.stored))
    if zeros:
        told.append(
            f"YOLOv5's own training keeps no zeros, of which this model has {zeros:,}: of 558,566 in a YOLOv5n 30,641 "
            "were left after one epoch"
        )
    return tuple(told)


@dataclass(frozen=True, eq=False)
class Shipped:
    """The model of a run that is exported, and what its files are compared with.

    Attributes:
        loaded: the artifact, read back.
        sha256: of the artifact.
        settings: how the recipe evaluates.
        evaluator: None where nothing is evaluated.
        compressed: the model, evaluated as the recipe says; None where nothing is evaluated.
        compared_on: a few images.
    """

    loaded: LoadedModel
    sha256: str
    settings: Settings
    evaluator: Evaluator | None
    compressed: Evaluation | None
    compared_on: Sequence[Path]

    def size(self, export: Export) -> int:
        """Side in pixels of the images that an export is made for."""
        return fit_image_size(export.image_size or self.settings.image_size, image_step(self.loaded.model.strides))

    def key(self, export: Export, steps: Steps) -> str:
        """All that an exported file and its figures depend on."""
        return steps.key(
            export=export.model_dump(mode="json"),
            artifact=self.sha256,
            judged=self.evaluator.facts if self.evaluator else None,
            settings=self.settings.model_dump(mode="json"),
            compared_on=[[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in self.compared_on],
        )


def compared_on(evaluator: Evaluator | None, data: str | None, settings: Settings) -> Sequence[Path]:
    """A few images to compare exported files on.

    Args:
        evaluator: whose images are taken; None where nothing is evaluated.
        data: of the recipe, whose images are taken then; those of the embedded one where it is not at hand.
        settings: with the split.
    """
    files = [sample.image for sample in evaluator.split.samples] if evaluator else []
    return _drawn(files or _images_at_hand(data, settings))


def export_run(
    exports: Sequence[Export], shipped: Shipped, folder: Path, steps: Steps, progress: Progress
) -> tuple[Exported, ...]:
    """Write a run's model in every format that its recipe names, and evaluate what was written.

    Args:
        exports: of the recipe.
        shipped: the model.
        folder: to write into.
        steps: of the run, of which each export is one.
        progress: receives every step.

    Raises:
        CompressorError: any error of what was written, or of evaluating it.
    """
    done: list[Exported] = []
    for export in exports:
        place, key = folder / export.file_name, shipped.key(export, steps)
        step = StepName(f"export_{export.file_name}", f"export {export.file_name}")
        found = steps.find(step, key)
        if found is not None:
            done.append(_put_back(found, place))
            continue
        with progress.step(step.title):
            size = shipped.size(export)
            images = _read(shipped.compared_on, size)
            agreement = write(shipped.loaded, export.format, _options(export, size), images, place)
        exported = Exported(export.format, export.file_name, bytes_of(place), agreement, None)
        if shipped.evaluator and export.evaluate:
            exported = _evaluated(exported, export, shipped, shipped.evaluator, place, done, progress)
        done.append(exported)
        steps.keep(step, key, {_TOLD: _EXPORTED.dump_json(exported), **_contents(place)})
    return tuple(done)


def _evaluated(
    exported: Exported,
    export: Export,
    shipped: Shipped,
    evaluator: Evaluator,
    place: Path,
    before: Sequence[Exported],
    progress: Progress,
) -> Exported:
    """A file with its figures, and those of the model by the same protocol where no file before has them."""
    own = replace(evaluator, settings=evaluator.settings.model_copy(update=own_settings(export, shipped.size(export))))
    network = open_network(place, evaluator.device, evaluator.settings.precision)
    evaluation, _ = own.evaluate(network, progress, f"evaluate {place.name}")
    others = (shipped.compressed, *(each.model for each in before))
    model = _evaluated_alike(evaluation, others, own, shipped.loaded, network, progress)
    return replace(exported, evaluation=evaluation, model=None if model is shipped.compressed else model)


def _contents(place: Path) -> dict[str, bytes]:
    """A file, or the files of a folder, by name."""
    return {file.name: file.read_bytes() for file in (place.iterdir() if place.is_dir() else [place])}


def _put_back(kept: dict[str, bytes], place: Path) -> Exported:
    """An exported file or folder as it was kept."""
    exported = _EXPORTED.validate_json(kept[_TOLD])
    files = {name: content for name, content in kept.items() if name != _TOLD}
    if list(files) == [place.name]:
        place.write_bytes(files[place.name])
        return exported
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return exported


def _images_at_hand(data: str | None, settings: Settings) -> list[Path]:
    try:
        return find_calibration_images(data or SHAPES, settings.split)
    except DatasetError:
        return find_calibration_images(SHAPES, "val")


def bytes_of(place: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (place.iterdir() if place.is_dir() else [place]))


def _options(export: Export, image_size: int) -> Options:
    return Options(image_size, bool(export.dynamic_size), Suppression(**dict(export.nms)) if export.nms else None)


def own_settings(export: Export, image_size: int) -> dict[str, float]:
    """Settings by which a graph is judged instead of those of the recipe: its own size and thresholds."""
    own: dict[str, float] = {}
    if export.nms:
        own = {"conf_thres": export.nms.conf_thres, "iou_thres": export.nms.iou_thres}
    if TRAITS[export.format].graph and not export.dynamic_size:
        own["image_size"] = image_size
    return own


def _evaluated_alike(
    evaluation: Evaluation,
    others: Iterable[Evaluation | None],
    evaluator: Evaluator,
    loaded: LoadedModel,
    graph: Network,
    progress: Progress,
) -> Evaluation:
    """The model by torch, evaluated by the protocol of an exported file, so that the figures may stand side by side.

    Args:
        evaluation: of the file.
        others: evaluations of the model, one of which may be it.
        evaluator: with the settings by which the file was evaluated.
        loaded: the model.
        graph: the file, opened.
        progress: told of the evaluation.
    """
    for other in others:
        if other is not None and other.settings.protocol == evaluation.settings.protocol:
            return other
    network = limited(inference_network(loaded.model, graph.device, "float32"), graph)
    found, _ = evaluator.evaluate(network, progress, f"evaluate the model on {evaluation.settings.shapes_in_words}")
    return found


def _drawn(files: Sequence[Path]) -> list[Path]:
    """A few of the images, to compare on."""
    return draw(list(files), CHECK_IMAGES, seed=0)


def _read(files: Sequence[Path], image_size: int) -> Tensor:
    """(N, 3, S, S) in [0, 1]."""
    with torch.inference_mode():
        return load_images(files, image_size)
