"""What the YAML reader complains of, as sentences for the person who wrote the recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class Complaint:
    """One fault of syntax.

    Attributes:
        message: what is wrong at `mark`.
        help: how to mend it.
        mark: where it is, counted from 0; None where the reader does not tell.
    """

    message: str
    help: str
    mark: yaml.Mark | None


@dataclass(frozen=True)
class _Sentence:
    """How one kind of complaint is put. `at_start`: its place is where the unfinished thing starts."""

    message: str
    help: str
    at_start: bool = False


_COLUMNS = "lines of one list or mapping start in the same column"
_QUOTES = "put it in quotes"
_COLON = "put text with a colon in quotes, each key on a line of its own, and a space after a dash or a colon"
_ESCAPES = "in single quotes a backslash is just a backslash"

# The reader's context and problem, and what they mean; {0} is the first group of the pattern. The first match counts.
_SENTENCES = {
    r"character '\\t' that cannot start": _Sentence(
        "a tab stands where only spaces may", "indent with spaces; YAML allows no tabs"
    ),
    r"character '(.+)' that cannot start": _Sentence("a value cannot start with {0}", _QUOTES),
    r"could not find expected ':'": _Sentence(
        "no colon follows this key", "write key: value; a text of several lines needs quotes", at_start=True
    ),
    r"scanning an alias": _Sentence("a value cannot start with *", 'put it in quotes: "*"', at_start=True),
    r"scanning an anchor": _Sentence("a value cannot start with &", _QUOTES, at_start=True),
    r"undefined alias '(.+)'": _Sentence("there is no anchor '{0}'", 'a value that starts with * needs quotes: "*{0}"'),
    r"duplicate anchor '(.+)'": _Sentence("the anchor '{0}' is written twice", "give each anchor a name of its own"),
    r"scanning a directive|incompatible YAML|duplicate YAML directive|duplicate tag handle": _Sentence(
        "a line that starts with % is no part of a recipe",
        "take the line out, or put its text in quotes",
        at_start=True,
    ),
    r"expected a single document": _Sentence(
        "a second document starts here", "a recipe is one document; take the line --- out"
    ),
    r"expected '<document start>'": _Sentence("text follows the end of the recipe", "take it out"),
    r"flow (?:sequence|mapping); .*got '{'": _Sentence(
        "a {{ is not expected here", 'in brackets and braces text with a {{ needs quotes: "${{name}}"'
    ),
    r"flow sequence; .*'<stream end>'": _Sentence("this [ is not closed", "put a ] at its end", at_start=True),
    r"flow mapping; .*'<stream end>'": _Sentence("this {{ is not closed", "put a }} at its end", at_start=True),
    r"flow sequence; .*got '(.+)'": _Sentence(
        "a comma or a ] is missing before {0}", "the [ stands on line {line}, column {column}"
    ),
    r"flow mapping; .*got '(.+)'": _Sentence(
        "a comma or a }} is missing before {0}", "the {{ stands on line {line}, column {column}"
    ),
    r"scanning a quoted scalar": _Sentence(
        "this quote is not closed", "put the same quote at the end of the text", at_start=True
    ),
    r"unknown escape character '(.+)'": _Sentence("\\{0} means nothing in double quotes", _ESCAPES),
    r"escape sequence of (\d+) hexadecimal": _Sentence("this escape needs {0} hexadecimal digits", _ESCAPES),
    r"mapping values are not allowed": _Sentence("a colon is not expected here", _COLON),
    r"sequence entries are not allowed": _Sentence(
        "a dash is not expected here", "start a list on a line of its own, or write it in brackets"
    ),
    r"mapping keys are not allowed": _Sentence("a question mark is not expected here", _QUOTES),
    r"<block end>, but found '([]}}])'": _Sentence("this {0} closes nothing", "take it out"),
    r"<block end>, but found '(<scalar>|,)'": _Sentence(
        "{0} stands where the value before it has ended",
        f"nothing may follow a closing quote or bracket, and {_COLUMNS}",
    ),
    r"expected <block end>": _Sentence(
        "this line fits neither the list or mapping above it nor one around it", _COLUMNS
    ),
    r"expected the node content, but found '(.+)'": _Sentence("a value is missing before {0}", _QUOTES),
    r"\btag\b": _Sentence("a value cannot start with !", _QUOTES, at_start=True),
    r"block scalar": _Sentence("only a line break may follow | or >", "start the text on the next line"),
}
_ANYTHING_ELSE = _Sentence(
    "the text ends or goes on where YAML does not expect it", "look for a missing quote or bracket"
)

_TOKENS = {
    "<stream end>": "the end of the file",
    "<document start>": "---",
    "<document end>": "...",
    "<block end>": "the end of the list or mapping",
    "<block sequence start>": "the list",
    "<block mapping start>": "the mapping",
    "<scalar>": "text",
    "<alias>": "the alias",
    "<anchor>": "the anchor",
    "<tag>": "the tag",
    "?": "the key",
    ":": "the colon",
    ",": "a comma",
    "-": "the dash",
}  # the reader's names of what it came upon


def complaint(fault: yaml.MarkedYAMLError) -> Complaint:
    """What `fault` means, and how to mend it."""
    start, here = fault.context_mark, fault.problem_mark
    sentence, words = _sentence(f"{fault.context or ''}; {fault.problem or ''}")
    place = {"line": start.line + 1, "column": start.column + 1} if start else {}
    mark = start or here if sentence.at_start else here or start
    return Complaint(sentence.message.format(*words, **place), sentence.help.format(*words, **place), mark)


def _sentence(said: str) -> tuple[_Sentence, list[str]]:
    """How to put what the reader said, and the words to fill in."""
    for pattern, sentence in _SENTENCES.items():
        found = re.search(pattern, said)
        if found:
            return sentence, [_TOKENS.get(word, word) for word in found.groups()]
    return _ANYTHING_ELSE, []
