"""Runs and artifacts of the schema before this one are read, verified, compared and reported; see README.md here."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact.load import load_model
from compressor.artifact.save import encode_model
from compressor.errors import InputError
from compressor.progress import Silent
from compressor.results.document import to_json
from compressor.results.run import RUN_SCHEMA, load_run
from compressor.run.folder import MODEL, RECORD, REPORT, sha256
from compressor.tasks.verify import verify
from compressor.tasks.verify.claims import Verification
from compressor.tasks.verify.record import recipe_of
from trials.commands import compressor

KEPT = Path(__file__).parent / "runs_of_schema_1.zip"
RUNS = ("member", "repair")
NOT_CHECKED = "not checked: written by compressor 0.1.0 as compressor/run/1"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kept")
    with zipfile.ZipFile(KEPT) as archive:
        archive.extractall(place)
    return place


@pytest.fixture
def member(kept: Path, tmp_path: Path) -> Path:
    """A copy to tamper with, away from its data."""
    return shutil.copytree(kept / "member", tmp_path / "member")


def found(run: Path, data: Path | None = None) -> Verification:
    return verify(run, str(data) if data else None, None, Silent())


def differences(verification: Verification) -> list[str]:
    return [difference for check in verification.checks for difference in check.differences]


def change_record(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads((run / RECORD).read_text())
    change(record)
    (run / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize("name", RUNS)
def test_an_older_run_holds_and_its_exact_sentences_are_named_as_not_checked(kept: Path, name: str) -> None:
    run = kept / name
    assert load_run(run).schema == "compressor/run/1" != RUN_SCHEMA
    before = (run / RECORD).read_bytes()
    verification = found(run, kept / "tiny.yaml" if name == "member" else None)
    assert differences(verification) == []
    stated = [each for each in verification.trusted if NOT_CHECKED in each.reason]
    assert [each.keys[:2] for each in stated] == [("the words of report.md", "changes.*.summary")]
    assert verification.counts["on_trust"] == len(verification.trusted)
    assert verification.counts["hold"] == len(verification.checks) == (17 if name == "member" else 15)
    assert (run / RECORD).read_bytes() == before


def coco(record: dict[str, Any]) -> None:
    record["compressed"]["metrics"]["coco"]["AP50"] = 0.9


def own_metric(record: dict[str, Any]) -> None:
    record["baseline"]["metrics"]["detection"]["P"] = 0.5


def of_a_class(record: dict[str, Any]) -> None:
    record["compressed"]["metrics"]["classes"][1]["AP50_95"] = 0.4


def zeros(record: dict[str, Any]) -> None:
    record["layers"][3]["zeros"] += 1


def size(record: dict[str, Any]) -> None:
    record["sizes"]["artifact"]["size_bytes"] -= 1


def version(record: dict[str, Any]) -> None:
    record["environment"]["compressor"] = "0.0.9"


@pytest.mark.parametrize("change", [coco, own_metric, of_a_class, zeros, size, version], ids=lambda each: each.__name__)
def test_a_tampered_figure_of_an_older_run_is_found_without_its_data(
    member: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    change_record(member, change)
    assert not found(member).good
    assert differences(found(member)) != []


def test_a_tampered_older_run_ends_in_1_and_an_untouched_one_in_0(member: Path) -> None:
    done = compressor("verify", "member", cwd=member.parent)
    assert done.returncode == 0, done.stderr
    assert NOT_CHECKED in done.stdout
    assert done.stdout.splitlines()[-1].startswith("15 claims hold, 0 differ; ")
    change_record(member, coco)
    done = compressor("verify", "member", cwd=member.parent)
    assert (done.returncode, "U922" in done.stderr) == (1, True), done.stderr
    assert "report.md has no row of AP50 with 0.000 before and 0.900 after, as run.json gives" in done.stdout


def test_another_figure_in_an_older_report_is_found(member: Path) -> None:
    text = (member / REPORT).read_text(encoding="utf-8")
    assert text.count("|    0.000 |   0.000 |    0.000 |      - |\n") > 1
    (member / REPORT).write_text(text.replace("0.000 |   0.000 |", "0.000 |   0.321 |", 1), encoding="utf-8")
    change_record(member, lambda record: record.update(report_sha256=sha256(member / REPORT)))
    assert differences(found(member)) == [
        "report.md has no row of AP with 0.000 before and 0.000 after, as run.json gives"
    ]


def test_other_words_of_an_older_run_are_taken_on_trust(member: Path) -> None:
    text = (member / REPORT).read_text(encoding="utf-8").replace("No interval is given", "There is no interval")
    (member / REPORT).write_text(text, encoding="utf-8")

    def in_other_words(record: dict[str, Any]) -> None:
        record["changes"][0]["summary"] = "95 % of the weights of 60 layers pruned"
        record["report_sha256"] = sha256(member / REPORT)

    change_record(member, in_other_words)
    assert differences(found(member)) == []

    def of_this_version(record: dict[str, Any]) -> None:
        record["schema"] = RUN_SCHEMA
        record["environment"]["packages"]["matplotlib"] = "another"  # so that no picture is drawn

    change_record(member, of_this_version)
    assert differences(found(member)) == [
        "report.md is missing or was changed",
        "changes.0: its summary is not that of the recipe",
    ]


def test_keys_that_an_older_run_lacks_are_no_error(member: Path) -> None:
    def without(record: dict[str, Any]) -> None:
        for key in ("inputs", "steps", "report_sha256", "timing", "reference"):
            del record[key]

    change_record(member, without)
    verification = found(member)
    assert differences(verification) == []
    assert {"steps", "report_sha256"} <= set(verification.not_recorded)


def test_a_schema_of_the_future_is_refused(member: Path) -> None:
    change_record(member, lambda record: record.update(schema="compressor/run/99", layers="otherwise"))
    with pytest.raises(InputError, match="'compressor/run/99', this version reads compressor/run/1 and ") as refused:
        load_run(member)
    assert refused.value.diagnostics[0].code == "U902"


def test_older_and_newer_runs_stand_side_by_side(kept: Path, tmp_path: Path) -> None:
    document = json.loads(to_json(load_run(kept / "member")))
    document.update(schema=RUN_SCHEMA, name="newer")
    document["sizes"]["artifact"]["size_bytes"] += 1_000_000
    (tmp_path / RECORD).write_text(json.dumps(document), encoding="utf-8")
    done = compressor("diff", kept / "member", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1.081" in done.stdout, "MB of the newer artifact"
    done = compressor("compare", kept / "member", kept / "repair", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "newer" in done.stdout


def test_an_older_run_is_reported_in_the_words_of_this_version(kept: Path) -> None:
    before = (kept / "repair" / REPORT).read_bytes()
    done = compressor("report", kept / "repair", cwd=kept)
    assert done.returncode == 0, done.stderr
    assert "Not evaluated: the run was asked to compress and save only" in done.stdout
    assert b"Not judged: the run was asked to compress and save only" in before
    assert (kept / "repair" / REPORT).read_bytes() == before


@pytest.mark.parametrize("name", RUNS)
def test_an_artifact_of_version_1_is_saved_again_with_the_same_bytes(kept: Path, name: str) -> None:
    data = (kept / name / MODEL).read_bytes()
    assert b"compressor/artifact/1" in data
    loaded = load_model(kept / name / MODEL)
    assert loaded.origin is not None
    assert encode_model(loaded.stored, loaded.origin.form, loaded.origin.provenance) == data


@pytest.mark.parametrize("name", RUNS)
def test_the_recipe_within_is_one_of_the_language(kept: Path, name: str) -> None:
    record = load_run(kept / name)
    loaded = load_model(kept / name / MODEL)
    assert loaded.origin is not None
    assert loaded.origin.provenance.recipe == record.recipe
    recipe = recipe_of(record)
    assert recipe is not None
    assert [each.type for each in recipe.modifiers] == (["prune"] if name == "member" else ["prune", "repair"])
