"""Whether an artifact, or a whole run, is what it says: every claim in it is worked out again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor import __version__
from compressor.artifact.load import LoadedModel, load_model
from compressor.artifact.save import encode_model
from compressor.errors import CheckpointError, Diagnostic, InputError
from compressor.pipeline import evaluate
from compressor.plan.layers import convolutions
from compressor.progress import Progress
from compressor.recipe.load import check_part
from compressor.recipe.schema import Evaluation as Settings
from compressor.results import RUN_SCHEMA
from compressor.run_folder import MODEL, RECORD, sha256

AP_TOLERANCE = 5e-4  # two machines round otherwise, which moves a detection or two


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
        InputError: U913 it is not a run folder, or holds nothing to compare with.
    """
    if place.is_dir():
        return tuple(_run(place, _record(place), again, progress))
    if again is not None:
        message = "an artifact alone records no figures to compare with"
        raise InputError(Diagnostic("U913", message, str(place), help="name the run folder it belongs to"))
    if not place.is_file():
        raise CheckpointError(Diagnostic("W301", "there is no such file", str(place)))
    return tuple(check for check, _ in _artifact(place, progress))


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: Any = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("schema") != RUN_SCHEMA:
        message = f"this folder has no {RECORD} of this version"
        raise InputError(Diagnostic("U913", message, str(folder), help="name a run folder that `apply` wrote"))
    return record


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


def _no_artifact(file: Path) -> CheckpointError:
    help_text = "name the model.safetensors of a run, or see what is in other files with `compressor inspect`"
    return CheckpointError(Diagnostic("W302", "not an artifact, so it claims nothing", str(file), help=help_text))


def _run(folder: Path, record: dict[str, Any], again: Evaluating | None, progress: Progress) -> Iterator[Check]:
    try:
        files = {each["path"]: each for each in record["files"]}
        with progress.step("digests"):
            yield Check("every file has its recorded digest", tuple(_wrong_files(folder, files)))
        loaded = None
        for check, loaded in _artifact(folder / MODEL, progress):  # noqa: B007  # the last model is used below
            yield check
        if loaded is None or loaded.origin is None:
            return
        origin = loaded.origin
        told = {
            "recipe": (record["recipe"], origin.provenance.recipe),
            "digest of the source weights": (record["weights"]["sha256"], origin.provenance.source_sha256),
        }
        yield Check(
            "the artifact and run.json tell of the same run",
            tuple(f"the {what} differs" for what, (ours, theirs) in told.items() if ours != theirs),
        )
        yield Check("every layer has the zeros that were planned and recorded", tuple(_wrong_zeros(record, loaded)))
        if again is not None:
            yield from _figures(folder, record, again, progress)
    except (KeyError, TypeError, AttributeError) as fault:
        message = f"its {RECORD} is not whole: {fault}"
        raise InputError(Diagnostic("U913", message, str(folder), help="run the recipe again")) from fault


def _wrong_files(folder: Path, files: dict[str, Any]) -> Iterator[str]:
    for name, recorded in files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            yield f"{name} is missing"
        elif sha256(path) != recorded["sha256"]:
            yield f"{name} was changed"


def _wrong_zeros(record: dict[str, Any], loaded: LoadedModel) -> Iterator[str]:
    found = {layer.name: layer.zeros for layer in convolutions(loaded.model)}
    recorded = {layer["name"]: layer["zeros"] for layer in record["layers"]}
    planned = {layer["name"]: layer["zeros_after"] for change in record["changes"] for layer in change["layers"]}
    for name in sorted({*found, *recorded}):
        zeros = found.get(name)
        if zeros != recorded.get(name):
            yield f"{name} holds {zeros} zeros, recorded are {recorded.get(name)}"
        elif zeros is not None and zeros < planned.get(name, 0):
            yield f"{name} holds {zeros} zeros, planned were {planned[name]}"


def _figures(folder: Path, record: dict[str, Any], again: Evaluating, progress: Progress) -> Iterator[Check]:
    known = record["compressed"]
    if known is None:
        message = "the run judged nothing, so there are no figures to compare with"
        raise InputError(Diagnostic("U913", message, str(folder), help="leave out --evaluate"))
    kept = {key: value for key, value in known["settings"].items() if key in Settings.model_fields}
    settings = check_part(Settings, {**kept, "split": known["data"]["split"]})
    data = again.data or known["data"]["source"]
    _, evaluation = evaluate(str(folder / MODEL), data, settings, again.device, progress)
    same = evaluation.data.sha256 == known["data"]["sha256"]
    yield Check("the data are those of the run", () if same else (f"{data} holds other images or labels",))
    coco, own = asdict(evaluation.metrics.coco), asdict(evaluation.metrics.detection)
    pairs = [(name, known["metrics"]["coco"][name], value) for name, value in coco.items()]
    pairs += [(name, known["metrics"]["detection"][name], value) for name, value in own.items()]
    yield Check(
        f"judged again every figure is within {AP_TOLERANCE}",
        tuple(f"{name} is {value}, recorded is {old}" for name, old, value in pairs if not _close(old, value)),
    )


def _close(old: float | None, new: float | None) -> bool:
    return old == new or (old is not None and new is not None and abs(old - new) <= AP_TOLERANCE)
