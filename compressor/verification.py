"""Whether an artifact, or a whole run, is what it says: digests, zeros and figures are worked out again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from compressor import __version__
from compressor.artifact.load import LoadedModel, load_model, missing
from compressor.artifact.save import encode_model
from compressor.errors import CheckpointError, CompressorError, DatasetError, Diagnostic, InputError
from compressor.pipeline import evaluate
from compressor.plan.layers import convolutions
from compressor.progress import Progress
from compressor.recipe.exports import Export
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation as Settings
from compressor.results.judgement import Evaluation
from compressor.results.run import Exported, RunRecord, load_run
from compressor.run_folder import MODEL, PAGE, PREDICTIONS_AFTER, PREDICTIONS_BEFORE, RECORD, REPORT, names_in, sha256
from compressor.run_report import rendered
from compressor.shipping import bytes_of

TOLERANCE = 5e-4  # two machines round otherwise, which moves a detection or two


@dataclass(frozen=True)
class Check:
    """One claim.

    Attributes:
        claim: what should hold, as a sentence.
        differences: where it does not; empty where it holds.
    """

    claim: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluating:
    """How to judge again.

    Attributes:
        data: the data set, None for the one that the run names.
        device: where.
    """

    data: str | None
    device: str


def verify(place: Path, again: Evaluating | None, progress: Progress) -> tuple[Check, ...]:
    """Work out again what an artifact or a run folder claims.

    Args:
        place: the artifact, or the run folder.
        again: judge the artifact again and compare with the run's figures; None leaves that out.
        progress: told of every step.

    Raises:
        CheckpointError: W301 there is no such file, W3xx it is another kind of file.
        InputError: U901, U902 it is not a run folder; U913 it holds nothing to compare with.
    """
    if place.is_dir():
        record = load_run(place)
        if again is not None and record.compressed is None:
            message = "the run judged nothing, so there are no figures to compare with"
            raise InputError(Diagnostic("U913", message, str(place), help="leave out --evaluate"))
        return tuple(_run(place, record, again, progress))
    if not place.exists():
        raise missing(place)
    if again is not None:
        message = "an artifact alone records no figures to compare with"
        raise InputError(Diagnostic("U913", message, str(place), help="name the run folder it belongs to"))
    if not place.is_file():
        raise missing(place)
    return tuple(check for check, _ in _artifact(place, progress))


def _artifact(file: Path, progress: Progress) -> Iterator[tuple[Check, LoadedModel | None]]:
    """The checks of one file; the last gives the model where it could be read."""
    if file.suffix != Path(MODEL).suffix:
        raise _no_artifact(file)
    structure = "the file is whole, fits its architecture, and every tensor has its recorded digest"
    try:
        with progress.step(f"read {file.name}"):
            loaded = load_model(file)
    except CheckpointError as fault:
        yield Check(structure, tuple(each.message for each in fault.diagnostics)), None
        return
    if loaded.origin is None:
        raise _no_artifact(file)
    yield Check(structure), loaded
    if loaded.origin.version == __version__:
        with progress.step("save it again"):
            same = encode_model(loaded.stored, loaded.origin.form, loaded.origin.provenance) == file.read_bytes()
        claim = "saved again it has the same bytes"
        yield Check(claim, () if same else ("other bytes come out",)), loaded
    else:
        version = loaded.origin.version
        yield Check(f"saving it again was not tried: compressor {version} made it, this is {__version__}"), loaded


def _no_artifact(file: Path) -> CheckpointError:
    help_text = "name the model.safetensors of a run, or see what is in other files with `compressor inspect`"
    return CheckpointError(Diagnostic("W302", "not an artifact, so it claims nothing", str(file), help=help_text))


def _run(folder: Path, record: RunRecord, again: Evaluating | None, progress: Progress) -> Iterator[Check]:
    with progress.step("digests"):
        wrong_files = tuple(_wrong_files(folder, record))
    yield Check("every file has its recorded digest", wrong_files)
    report = folder / REPORT
    same = report.is_file() and report.read_text(encoding="utf-8") == rendered(record, folder)
    yield Check("the report is the one that run.json gives", () if same else (f"{REPORT} is missing or was changed",))
    loaded = None
    for check, found in _artifact(folder / MODEL, progress):
        loaded = found
        yield check
    if loaded is None or loaded.origin is None:
        return
    provenance = loaded.origin.provenance
    told = {
        "recipe": (record.recipe, provenance.recipe),
        "size of the file": (record.sizes.artifact.size_bytes, (folder / MODEL).stat().st_size),
        "digest of the source weights": (record.weights.sha256, provenance.source_sha256),
    }
    yield Check(
        "the artifact and run.json tell of the same run",
        tuple(f"the {what} differs" for what, (ours, theirs) in told.items() if ours != theirs),
    )
    yield Check("every layer has the zeros that were planned and recorded", tuple(_wrong_zeros(record, loaded)))
    wrong_exports = tuple(_wrong_exports(folder, record))
    yield Check("the exports are those that the recipe asks for, as large as recorded", wrong_exports)
    if again is not None:
        if record.compressed is not None:
            yield from _figures(folder / MODEL, record.compressed, again, progress)
        for export in record.exports:
            if export.evaluation is not None:
                yield from _exported_figures(folder, export, (*wrong_files, *wrong_exports), again, progress)


def _wrong_exports(folder: Path, record: RunRecord) -> Iterator[str]:
    written = record.recipe.get("exports", ())
    asked = [check_part(Export, {key: value for key, value in each.items() if value is not None}) for each in written]
    if [export.path for export in record.exports] != [each.file_name for each in asked]:
        yield "the record names others"
        return
    recorded = {file.path for file in record.files}
    for export, each in zip(record.exports, asked, strict=True):
        place = folder / each.file_name
        if not any(path == export.path or path.startswith(f"{export.path}/") for path in recorded):
            yield f"{export.path} is not recorded among the files"
        elif not place.exists() or bytes_of(place) != export.size_bytes:
            yield f"{export.path} has not its {export.size_bytes:,} bytes"
        if each.evaluate and record.compressed is not None and export.evaluation is None:
            yield f"{export.path} was to be judged and was not"


def _exported_figures(
    folder: Path, export: Exported, wrong: tuple[str, ...], again: Evaluating, progress: Progress
) -> Iterator[Check]:
    """Judge an export again, where nothing that is `wrong` names it, and it is no program."""
    if any(export.path in told for told in wrong) or _leads_out(export.path):
        yield Check(f"{export.path}: judged again", ("it is not the file that was judged, so it is not run",))
    elif export.format == "torchscript":
        yield Check(
            f"{export.path}: not judged again, for it is a program; where you trust it, `compressor evaluate` it"
        )
    else:
        assert export.evaluation is not None  # only such are asked
        yield from _figures(folder / export.path, export.evaluation, again, progress)


def _wrong_files(folder: Path, record: RunRecord) -> Iterator[str]:
    recorded = {file.path for file in record.files}
    judged = ((record.baseline, PREDICTIONS_BEFORE), (record.compressed, PREDICTIONS_AFTER))
    needed = {MODEL, *(name for evaluation, name in judged if evaluation is not None)}
    yield from (f"{name} is not recorded" for name in sorted(needed - recorded))
    present = names_in(folder)
    yield from (
        f"{name} does not belong to the run" for name in sorted(present - recorded - needed - {REPORT, RECORD, PAGE})
    )
    for file in record.files:
        path = folder / file.path
        if _leads_out(file.path) or not path.is_file():
            yield f"{file.path} is missing"
        elif sha256(path) != file.sha256:
            yield f"{file.path} was changed"


def _leads_out(recorded: str) -> bool:
    """Whether a path that is said to be of the run folder is of somewhere else."""
    return PurePath(recorded).is_absolute() or ".." in PurePath(recorded).parts


def _wrong_zeros(record: RunRecord, loaded: LoadedModel) -> Iterator[str]:
    found = {layer.name: layer.zeros for layer in convolutions(loaded.model)}
    recorded = {layer.name: layer.zeros for layer in record.layers}
    planned = {layer.name: layer.zeros_after for change in record.changes for layer in change.layers}
    for name in sorted({*found, *recorded}):
        zeros = found.get(name)
        if zeros != recorded.get(name):
            yield f"{name} holds {zeros} zeros, recorded are {recorded.get(name)}"
        elif zeros is not None and zeros < planned.get(name, 0):
            yield f"{name} holds {zeros} zeros, planned were {planned[name]}"


def _figures(file: Path, known: Evaluation, again: Evaluating, progress: Progress) -> Iterator[Check]:
    kept = {key: value for key, value in asdict(known.settings).items() if key in Settings.model_fields}
    if known.settings.runs_on != "torch" or known.settings.precision == "float16":  # a graph's own, and that of a GPU
        kept["precision"] = "auto"
    settings = check_part(Settings, {**kept, "split": known.data.split})
    data = again.data or known.data.source
    claim = f"{file.name}: judged again every figure over all classes is within {TOLERANCE}"
    try:
        _, found = evaluate(str(file), data, settings, again.device, progress, seen=True)
    except DatasetError:
        raise  # nothing can be judged then
    except CompressorError as fault:
        yield Check(claim, tuple(each.message for each in fault.diagnostics))
        return
    others = () if found.data.sha256 == known.data.sha256 else (f"{data} holds other images or labels",)
    yield Check(f"{file.name}: the data are those of the run", others)
    old, new = ({**asdict(each.metrics.coco), **asdict(each.metrics.detection)} for each in (known, found))
    different = (name for name in old if not _close(old[name], new[name]))
    yield Check(claim, tuple(f"{name} is {new[name]}, recorded is {old[name]}" for name in different))


def _close(old: float | None, new: float | None) -> bool:
    return old == new or (old is not None and new is not None and abs(old - new) <= TOLERANCE)
