"""Whether an artifact, or a whole run, is what it says: what can be worked out is, and the rest is named."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from compressor.artifact.load import LoadedModel, load_model, missing
from compressor.artifact.save import encode_model
from compressor.errors import CheckpointError, Diagnostic, InputError
from compressor.progress import Progress
from compressor.recipe.exports import traits_of
from compressor.results.run import RunRecord, load_run
from compressor.run.environment import ZLIB
from compressor.run.folder import MODEL
from compressor.tasks.verify.claims import Check, Trusted, Verification
from compressor.tasks.verify.evaluations import wrong_evaluations
from compressor.tasks.verify.facts import Facts, facts_of, source_at_hand
from compressor.tasks.verify.figures import (
    MATPLOTLIB,
    Data,
    Evaluating,
    data_at_hand,
    drawn_here,
    evaluated_again,
    from_predictions,
)
from compressor.tasks.verify.files import leads_out, left_out, wrong_exports, wrong_files, wrong_pictures, wrong_report
from compressor.tasks.verify.record import (
    recipe_of,
    wrong_changes,
    wrong_gates,
    wrong_models,
    wrong_origin,
    wrong_rest,
    wrong_search,
    wrong_sizes,
    wrong_sparsity,
    wrong_zeros,
)
from compressor.tasks.verify.trust import Known, not_recorded, of_pictures, of_wording, trusted
from compressor.tasks.verify.writer import other_writer
from compressor.version import __version__


def verify(place: Path, data: str | None, again: Evaluating | None, progress: Progress) -> Verification:
    """Work out again what an artifact or a run folder claims, and name what cannot be.

    Args:
        place: the artifact, or the run folder.
        data: the data set of the run where it has moved; None for the place that the run names.
        again: evaluate the models again and compare with the run's figures; None leaves that out.
        progress: receives every step.

    Raises:
        CheckpointError: W301 there is no such file, W3xx it is another kind of file.
        InputError: U901, U902 it is not a run folder; U913 it holds nothing to compare with.
        DatasetError: the data set that is to be evaluated on cannot be read.
    """
    if place.is_dir():
        record = load_run(place)
        if (again is not None or data is not None) and record.compressed is None:
            message = "the run evaluated nothing, so there are no figures to compare with"
            raise InputError(Diagnostic("U913", message, str(place), help="leave out --evaluate and --data"))
        absent = left_out(place, record)
        if not absent:
            return _run(place, record, data, again, progress)
        if again is not None or data is not None:
            message = f"only the report of a run is here, without {absent[0]} and what else it is worked out from"
            help_text = "leave out --evaluate and --data, or make the run again from its recipe"
            raise InputError(Diagnostic("U913", message, str(place), help=help_text))
        return _report_alone(place, record, absent, progress)
    if not place.is_file():
        raise missing(place)
    if again is not None or data is not None:
        message = "an artifact alone records no figures to compare with"
        raise InputError(Diagnostic("U913", message, str(place), help="name the run folder it belongs to"))
    checks, trust, _ = _artifact(place, progress)
    return Verification(checks, trust)


def _artifact(file: Path, progress: Progress) -> tuple[tuple[Check, ...], tuple[Trusted, ...], LoadedModel | None]:
    """The checks of one file, what of it is not known, and the model where it could be read."""
    if file.suffix != Path(MODEL).suffix:
        raise _no_artifact(file)
    structure = "the file is whole, fits its architecture, and every tensor has its recorded digest"
    try:
        with progress.step(f"read {file.name}"):
            loaded = load_model(file)
    except CheckpointError as error:
        return (Check(structure, tuple(each.message for each in error.diagnostics)),), (), None
    if loaded.origin is None:
        raise _no_artifact(file)
    if loaded.origin.version != __version__:
        reason = f"compressor {loaded.origin.version} made it, this is {__version__}, which may save otherwise"
        return (Check(structure),), (Trusted((f"the bytes of {file.name}",), reason),), loaded
    with progress.step("save it again"):
        same = encode_model(loaded.stored, loaded.origin.form, loaded.origin.provenance) == file.read_bytes()
    again = Check("saved again it has the same bytes", () if same else ("other bytes come out",))
    return (Check(structure), again), (), loaded


def _no_artifact(file: Path) -> CheckpointError:
    help_text = "name the model.safetensors of a run, or see what is in other files with `compressor inspect`"
    return CheckpointError(Diagnostic("W302", "not an artifact, so it claims nothing", str(file), help=help_text))


def _run(
    folder: Path, record: RunRecord, data: str | None, again: Evaluating | None, progress: Progress
) -> Verification:
    with progress.step("digests"):
        changed = tuple(wrong_files(folder, record))
    checks = [Check("every file has its recorded digest", changed), _report(folder, record)]
    whole, trust, loaded = _artifact(folder / MODEL, progress)
    checks += whole
    if loaded is None or loaded.origin is None:
        return Verification(tuple(checks), (*trust, Trusted(("*",), f"{MODEL} cannot be read")))
    with progress.step("count and weigh"):
        artifact, source = (folder / MODEL).read_bytes(), source_at_hand(record.weights)
        written = record.sizes.dense_as_written
        facts = facts_of(loaded, loaded.origin, artifact, source, dense_as_written=written)
    found = data_of(record, data, facts, progress)
    known = Known(
        gzipped=record.environment.packages.get(ZLIB) == zlib.ZLIB_RUNTIME_VERSION,
        drawn=drawn_here(record, MATPLOTLIB),
        source=facts.source is not None,
        no_data=found if isinstance(found, str) else None,
        recipe=recipe_of(record) is not None,
        evaluated=again is not None,
    )
    checks += claims(record, facts, known, (folder / MODEL).stat().st_size)
    wrong = tuple(wrong_exports(folder, record))
    checks.append(Check("the exports are those that the recipe asks for, as large as recorded", wrong))
    with progress.step("draw the pictures"):
        if known.drawn:
            checks.append(Check("the pictures are those that run.json gives", tuple(wrong_pictures(folder, record))))
    if isinstance(found, Data):
        with progress.step("figures of the detections"):
            stated = tuple(from_predictions(folder, record, found))
        checks += (each for each in stated if isinstance(each, Check))
        trust += tuple(each for each in stated if isinstance(each, Trusted))
    elif data is not None:
        checks.append(Check("the data are those of the run", (found,)))
    if again is not None:
        checks += _again(folder, record, facts, (*changed, *wrong), again, progress)
    return Verification(tuple(checks), (*trust, *trusted(record, known)), not_recorded(record))


def _report(folder: Path, record: RunRecord) -> Check:
    same = "is the one that run.json gives"
    claim = same if other_writer(record) is None else "has its recorded digest, and the figures that run.json gives"
    return Check(f"the report {claim}", tuple(wrong_report(folder, record)))


def _report_alone(folder: Path, record: RunRecord, absent: tuple[str, ...], progress: Progress) -> Verification:
    """What is known of a report without model, detections and exports, as in a repository."""
    with progress.step("digests"):
        changed = tuple(wrong_files(folder, record, absent))
    checks = [Check("every file that is here has its recorded digest", changed), _report(folder, record)]
    checks += of_record(record)
    with progress.step("draw the pictures"):
        drawn = drawn_here(record, MATPLOTLIB)
        if drawn:
            checks.append(Check("the pictures are those that run.json gives", tuple(wrong_pictures(folder, record))))
    why = f"what it says of model and detections is not checked: only the report is here, without {', '.join(absent)}"
    trust = [Trusted(("*",), why), *of_wording(record), *of_pictures(record, drawn=drawn, data=False)]
    return Verification(tuple(checks), tuple(trust), not_recorded(record), absent)


def data_of(record: RunRecord, data: str | None, facts: Facts, progress: Progress) -> Data | str:
    """The data that a run was evaluated on, or why they are not known."""
    if record.compressed is None:
        return "the run evaluated nothing"
    return data_at_hand(record.compressed, data, facts, progress)


def claims(record: RunRecord, facts: Facts, known: Known, artifact_bytes: int) -> Iterator[Check]:
    """What run.json claims, against itself and the artifact."""
    yield Check("the artifact and run.json are of the same run", tuple(wrong_origin(record, facts, artifact_bytes)))
    yield Check("every layer has the zeros that were planned and recorded", tuple(wrong_zeros(record, facts)))
    yield Check("the sparsity is that of the layers", tuple(wrong_sparsity(record, facts)))
    yield Check("the models are those of the artifact's layer table", tuple(wrong_models(record, facts)))
    sizes = tuple(wrong_sizes(record, facts, gzipped=known.gzipped))
    yield Check("the file sizes are those of the artifact's tensors", sizes)
    recipe = recipe_of(record)
    if recipe is None:
        return
    yield Check("the changes are those that the recipe asks for", tuple(wrong_changes(record, recipe, facts)))
    claim = "the figures agree with the recipe, with the classes and with one another"
    yield Check(claim, tuple(wrong_evaluations(record, recipe, facts)))
    yield from of_record(record)


def of_record(record: RunRecord) -> Iterator[Check]:
    """What run.json claims, against itself."""
    recipe = recipe_of(record)
    if recipe is None:
        return
    yield Check("the search found what the recipe holds", tuple(wrong_search(record)))
    yield Check("the gates are decided as the figures say", tuple(wrong_gates(record, recipe)))
    yield Check("times, warnings and the reference are whole", tuple(wrong_rest(record, recipe)))


def _again(
    folder: Path, record: RunRecord, facts: Facts, wrong: tuple[str, ...], again: Evaluating, progress: Progress
) -> Iterator[Check]:
    """Both models and every export evaluated again, but for what is no longer the file that was."""
    if record.baseline is not None and facts.source is not None:
        yield from evaluated_again(facts.source.path, record.baseline, again, progress)
    if record.compressed is not None:
        yield from evaluated_again(folder / MODEL, record.compressed, again, progress)
    for export in record.exports:
        if export.evaluation is None or traits_of(export.format).program:
            continue
        if any(export.path in stated for stated in wrong) or leads_out(export.path):
            yield Check(f"{export.path}: evaluated again", ("it is not the file that was evaluated, so it is not run",))
        else:
            yield from evaluated_again(folder / export.path, export.evaluation, again, progress)
