"""Every key of run.json is worked out again by `verify`, or named as taken on trust; and what older versions wrote."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compressor.artifact.load import load_model
from compressor.errors import InputError
from compressor.progress import Silent
from compressor.results.run import RunRecord, load_run
from compressor.run.folder import MODEL, PREDICTIONS_AFTER, PREDICTIONS_BEFORE
from compressor.tasks.verify import claims
from compressor.tasks.verify.facts import Facts, facts_of
from compressor.tasks.verify.figures import Data, Figures, data_at_hand, figures_of, wrong_figures
from compressor.tasks.verify.files import wrong_files
from compressor.tasks.verify.trust import Known, trusted

OLD_RUN = Path(__file__).parent / "run_of_0.1.0.zip"  # with its data; made before there were most of the checks
KNOWN = Known(gzipped=False, drawn=True, source=False, no_data=None, recipe=True, evaluated=False)


@dataclass(frozen=True)
class Old:
    """An older run, and what its files give."""

    folder: Path
    text: str
    facts: Facts
    figures: dict[str, Figures]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    place = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(OLD_RUN) as archive:
        archive.extractall(place)
    folder = place / "run"
    record = load_run(folder)
    loaded = load_model(folder / MODEL)
    assert loaded.origin is not None and record.compressed is not None
    facts = facts_of(loaded, loaded.origin, (folder / MODEL).read_bytes(), None, dense_as_written=False)
    data = data_at_hand(record.compressed, str(place / "tiny.yaml"), facts, Silent())
    assert isinstance(data, Data)
    names = {"baseline": PREDICTIONS_BEFORE, "compressed": PREDICTIONS_AFTER}
    figures = {key: figures_of(folder / name, data) for key, name in names.items()}
    return Old(folder, (folder / "run.json").read_text(), facts, figures)


def differences(old: Old, record: RunRecord) -> list[str]:
    size = (old.folder / MODEL).stat().st_size
    found = [difference for check in claims(record, old.facts, KNOWN, size) for difference in check.differences]
    for key, figures in old.figures.items():
        evaluation = getattr(record, key)
        found += wrong_figures(evaluation, figures, worded=False) if evaluation else []
    return [*found, *wrong_files(old.folder, record)]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every value, of a list only those in its first and last entry, and every list itself."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        if value:
            yield path
        for index in {0, len(value) - 1} if value else ():
            yield from leaves(value[index], (*path, index))
    elif value is not None:
        yield path


def falsified(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.9 + 0.05
        case str():
            return f"{value}x"
        case _:
            return value[:-1]


def trusts(key: str, path: tuple[str | int, ...]) -> bool:
    words = key.split(".")
    return len(words) <= len(path) and all(
        word == "*" or word == str(place) for word, place in zip(words, path, strict=False)
    )


def test_every_key_is_checked_or_named_as_taken_on_trust(old: Old, tmp_path: Path) -> None:
    assert differences(old, load_run(old.folder)) == []
    believed = []
    file = tmp_path / "run.json"
    for path in leaves(json.loads(old.text)):
        document = json.loads(old.text)
        inner = document
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = falsified(inner[path[-1]])
        file.write_text(json.dumps(document))
        try:
            record = load_run(file)
        except InputError:
            continue
        named = [key for each in trusted(record, KNOWN) for key in each.keys]
        if not any(trusts(key, path) for key in named) and not differences(old, record):
            believed.append(".".join(map(str, path)))
    assert believed == []
