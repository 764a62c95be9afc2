"""What run.json says against itself and against what its files give: every difference as a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compressor.modifiers.behaviours import behaviour_of
from compressor.modifiers.steps import resolved
from compressor.plan.outline import Outline
from compressor.plan.targets import Spot
from compressor.recipe.gates import parse_gate
from compressor.recipe.load import RecipeFile
from compressor.recipe.modifiers import Modifier
from compressor.recipe.nodes import Node, Place
from compressor.recipe.schema import Recipe
from compressor.report.reference import published_reference
from compressor.results.changes import Change, LayerChange
from compressor.results.evaluation import METHOD
from compressor.results.gates import Verdict, metric, verdicts
from compressor.results.network import LayerSparsity, summed_up
from compressor.results.run import RunRecord
from compressor.run.job import as_written, underflow
from compressor.run.record import uncompared
from compressor.tasks.verify.facts import Facts
from compressor.tasks.verify.writer import other_writer

_EXACT = 1e-9  # sums in another order


def recipe_of(record: RunRecord) -> Recipe | None:
    """The recipe of a run; None where this version's language is another."""
    try:
        return Recipe.model_validate(as_written(record.recipe))
    except ValidationError:
        return None


def wrong_origin(record: RunRecord, facts: Facts, artifact_bytes: int) -> Iterator[str]:
    """Where the artifact is of another run."""
    provenance = facts.provenance
    stated = {
        "recipe": (record.recipe, provenance.recipe),
        "version of compressor": (record.environment.compressor, facts.version),
        "size of the file": (record.sizes.artifact.size_bytes, artifact_bytes),
        "digest of the source weights": (record.weights.sha256, provenance.source_sha256),
        "name of the source weights": (record.weights.path, provenance.recipe.get("model", {}).get("weights")),
    }
    yield from (f"the {what} differs" for what, (ours, theirs) in stated.items() if ours != theirs)


def wrong_zeros(record: RunRecord, facts: Facts) -> Iterator[str]:
    """Layers that hold other zeros than recorded, or fewer than planned, or are other layers."""
    found = {layer.name: layer for layer in facts.layers}
    recorded = {layer.name: layer for layer in record.layers}
    planned = _planned(record)
    for name in dict.fromkeys((*found, *recorded)):
        there, stated = found.get(name), recorded.get(name)
        if there is None or stated is None:
            yield f"{name} holds {there and there.zeros} zeros, recorded are {stated and stated.zeros}"
        elif there.zeros != stated.zeros:
            yield f"{name} holds {there.zeros} zeros, recorded are {stated.zeros}"
        elif there != stated:
            yield f"{name} is {_layer(there)}, recorded is {_layer(stated)}"
        elif there.zeros < planned.get(name, 0):
            yield f"{name} holds {there.zeros} zeros, planned were {planned[name]}"
    if [layer.name for layer in record.layers] != [layer.name for layer in facts.layers]:
        yield "the layers are not in the order of the network"


def _planned(record: RunRecord) -> dict[str, int]:
    return {layer.name: layer.zeros_after for change in record.changes for layer in change.layers}


def _layer(layer: LayerSparsity | LayerChange) -> str:
    return f"{layer.role}, {' x '.join(map(str, layer.shape))}, {layer.weights:,} weights"


def wrong_sparsity(record: RunRecord, facts: Facts) -> Iterator[str]:
    """Fractions of zeros that are not those of the layers."""
    expected = asdict(summed_up(facts.layers, record.changes, facts.all_parameters))
    yield from differing("sparsity", expected, asdict(record.sparsity))


def wrong_models(record: RunRecord, facts: Facts) -> Iterator[str]:
    """Summaries of the two models that are not those of the artifact's network."""
    yield from differing("compressed_model", asdict(facts.model), asdict(record.compressed_model))
    folded = record.recipe.get("model", {}).get("fuse") == "before" or record.model.fused
    if facts.source is not None:
        folded = record.recipe.get("model", {}).get("fuse") == "before" or facts.source.model.model.fused
    yield from differing("model", asdict(facts.dense[folded]), asdict(record.model))


def wrong_sizes(record: RunRecord, facts: Facts, *, gzipped: bool) -> Iterator[str]:
    """Sizes that are not those of the artifact's tensors, and of the weights where these are at hand."""
    for name in ("dense_float32", "dense", "artifact", *(["source"] if facts.source else [])):
        ours, theirs = asdict(getattr(facts.sizes, name)), asdict(getattr(record.sizes, name))
        known = ("size_bytes", "gzip_bytes") if gzipped else ("size_bytes",)
        yield from differing(f"sizes.{name}", *({key: each[key] for key in known} for each in (ours, theirs)))
    if record.sizes.source.size_bytes != record.weights.size_bytes:
        yield f"weights.size_bytes is {record.weights.size_bytes:,}, that of sizes.source is another"


def wrong_changes(record: RunRecord, recipe: Recipe, facts: Facts) -> Iterator[str]:
    """Changes that are not those which the recipe asks for, or do not add up to the zeros of the layers."""
    if len(record.changes) != len(recipe.modifiers):
        yield f"there are {len(record.changes)} changes of {len(recipe.modifiers)} modifiers"
        return
    file = RecipeFile(Node(None, Place("run.json")), recipe, Path("run.json"))
    layers = {layer.name: layer for layer in facts.layers}
    outline = Outline(facts.convolutions)
    same_words = other_writer(record) is None
    before: dict[str, int] = dict(facts.source.zeros(folded=record.model.fused)) if facts.source else {}
    for index, (change, modifier) in enumerate(zip(record.changes, recipe.modifiers, strict=True)):
        step, errors = resolved(modifier, Spot(file, index), outline)
        outline = outline.after(modifier)
        if errors:
            yield f"changes.{index}: {errors[0].message}"
            continue
        yield from (f"changes.{index}: {each}" for each in _wrong_layers(change, step.names, layers))
        yield from (f"changes.{index}: {each}" for each in _wrong_kind(change, modifier))
        if change.modifier == modifier.type:
            behaviour = behaviour_of(modifier)
            if same_words and change.summary != behaviour.summary(change, step):
                yield f"changes.{index}: its summary is not that of the recipe"
            wrong = behaviour.contradictions(change, step, before)
            yield from (f"changes.{index}: {each}" for each in wrong)
        before |= {layer.name: layer.zeros_after for layer in change.layers}
    yield from _wrong_surplus(record, layers)


def _wrong_kind(change: Change, modifier: Modifier) -> Iterator[str]:
    if change.modifier != modifier.type:
        yield f"it is a {change.modifier}, the recipe asks for a {modifier.type}"
    elif sorted(change.altered) != sorted(modifier.alters):
        stated, expected = (", ".join(sorted(each)) or "nothing" for each in (change.altered, modifier.alters))
        yield f"it alters {stated}, a {modifier.type} alters {expected}"


def _wrong_layers(change: Change, chosen: frozenset[str], layers: Mapping[str, LayerSparsity]) -> Iterator[str]:
    expected = [name for name in layers if name in chosen]
    if [layer.name for layer in change.layers] != expected:
        yield f"it lists {len(change.layers)} layers, the recipe targets {len(expected)}"
    for layer in change.layers:
        if layer.name in layers and _layer(layer) != _layer(layers[layer.name]):
            yield f"{layer.name} is {_layer(layers[layer.name])}, recorded is {_layer(layer)}"


def _wrong_surplus(record: RunRecord, layers: Mapping[str, LayerSparsity]) -> Iterator[str]:
    """Zeros that no modifier made are those which the number type made, and a warning says how many."""
    planned = _planned(record)
    surplus = sum(layers[name].zeros - zeros for name, zeros in planned.items() if name in layers)
    if other_writer(record) is not None:
        if surplus > 0 and not any(f"{surplus:,} " in warning for warning in record.warnings):
            yield f"the layers hold {surplus:,} zeros more than the changes made, and no warning has that number"
        return
    stated = [
        warning for warning in record.warnings if warning.endswith(underflow(0, record.recipe["artifact"]["dtype"])[1:])
    ]
    if surplus > 0 and underflow(surplus, record.recipe["artifact"]["dtype"]) not in stated:
        yield f"the layers hold {surplus:,} zeros more than the changes made, and no warning says so"
    elif surplus <= 0 and stated:
        yield f"a warning names zeros that are not there: {stated[0]}"


def wrong_search(record: RunRecord) -> Iterator[str]:
    """A search whose outcome is not what the recipe holds."""
    search, modifiers = record.search, record.recipe.get("modifiers", ())
    if search is None:
        return
    asked = modifiers[search.modifier] if 0 <= search.modifier < len(modifiers) else {}
    if asked.get("sparsity") != search.sparsity:
        yield f"search.sparsity is {search.sparsity:g}, the recipe's modifier {search.modifier} has another"
    tried = [each for each in search.tries if each.sparsity == search.sparsity]
    if search.tries and not tried:
        yield f"search.tries holds none of the sparsity that was found, {search.sparsity:g}"
    baseline = record.baseline.metrics.coco.AP if record.baseline else None
    if search.baseline_AP is not None and baseline is not None and search.baseline_AP != baseline:
        yield f"search.baseline_AP is {search.baseline_AP}, the AP before is {baseline}"


def wrong_gates(record: RunRecord, recipe: Recipe) -> Iterator[str]:
    """Verdicts that do not follow from the figures."""
    size = record.sizes.artifact.size_bytes / record.sizes.dense.size_bytes
    expected = verdicts(recipe.report.fail_if, record.baseline, record.compressed, size)
    if [each.gate for each in expected] != [each.gate for each in record.gates]:
        yield "the gates are not those of the recipe"
        return
    for ours, theirs in zip(expected, record.gates, strict=True):
        if ours != theirs and not (older(record) and _follows_as_before(theirs, ours, record)):
            yield f"{ours.gate}: {_verdict(ours)}, recorded is {_verdict(theirs)}"


def older(record: RunRecord) -> bool:
    """Whether the figures of a run were counted, and its gates decided, by an earlier version's rules."""
    return record.compressed is not None and record.compressed.settings.method < METHOD


def _follows_as_before(stated: Verdict, now: Verdict, record: RunRecord) -> bool:
    """Whether a verdict follows by the rules of earlier versions, which decided between any two figures."""
    gate = parse_gate(stated.gate)
    value = _value_before(gate.quantity, record) if now.value is None else now.value
    return stated.value == value and stated.failed == (value is None or gate.holds(value))


def _value_before(quantity: str, record: RunRecord) -> float | None:
    """What an earlier version compared; `worst_class` of models that both found nothing was 0."""
    if quantity == "worst_class":
        return 0.0
    form, _, name = quantity.rpartition(".")
    old, new = metric(record.baseline, name), metric(record.compressed, name)
    if new is None or (old is None and form != "after"):
        return None
    if form == "after" or old is None:
        return 100 * new
    if form == "kept":
        return 100 * new / old if old > 0 else None
    return round(100 * (new - old), 9)


def _verdict(verdict: Verdict) -> str:
    value = "an undefined figure" if verdict.value is None else f"{verdict.value:.6g}"
    return f"{'failed' if verdict.failed else 'passed'} at {value}"


def wrong_rest(record: RunRecord, recipe: Recipe) -> Iterator[str]:
    """Times that do not add up, warnings that are left out, and a reference that is none."""
    if record.steps and abs(sum(step.wall_s for step in record.steps) - record.duration_s) > _EXACT:
        yield f"duration_s is {record.duration_s}, the steps take {sum(step.wall_s for step in record.steps)}"
    skipped = record.compressed.data.skipped if record.compressed else ()
    for warning in (*skipped, *(uncompared(record.exports) if other_writer(record) is None else ())):
        if warning not in record.warnings:
            yield f"warnings leaves out: {warning}"
    named = recipe.report.reference is not None
    if record.compressed is None or named:
        if (record.reference is None) == (named and record.compressed is not None):
            yield "reference is not there where the recipe names one, or is where nothing was evaluated"
    else:
        published = published_reference(record.model, record.compressed.data, record.compressed.settings)
        if record.reference != published and not (older(record) and published is None):
            yield "reference is not what is published for this model and data"


def differing(place: str, expected: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[str]:
    """Every expected value that is recorded otherwise, below a place of run.json."""
    for key, value in expected.items():
        if stated[key] != value:
            yield f"{place}.{key} is {value}, recorded is {stated[key]}"
