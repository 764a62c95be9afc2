"""Text of strangers is shown without control characters, by everything that prints."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.cli.console import Console
from compressor.errors import Diagnostic
from compressor.printable import printable, printable_json, printable_lines
from compressor.report.tables import Table
from trials.commands import compressor
from trials.tiny import tiny_data, tiny_model

EVIL = "\x1b[2J\x1b]0;pwn\x07\x9b31m\u202egnp.exe\r\n\ud800"
SHOWN = r"\x1b[2J\x1b]0;pwn\x07\x9b31m\u202egnp.exe\r\n\ud800"


@pytest.mark.parametrize(
    ("text", "shown"),
    [(EVIL, SHOWN), ("é 🚢 名前", "é 🚢 名前"), ("a\tb", r"a\tb"), ("a\u00a0b\u3000c", "a b c"), ("", "")],
)
def test_one_line_holds_only_what_can_be_printed(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_lines_keep_line_feeds_and_tabs() -> None:
    assert printable_lines("a\n\tb\r\x1b[1m\n") == "a\n\tb\\r\\x1b[1m\n"


def test_a_json_document_stays_the_same() -> None:
    document = {"name": EVIL, "é": ["\x7f\x85\u2028\U000e0001"]}
    text = printable_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == document


def test_an_error_is_two_lines_whatever_it_names() -> None:
    text = str(Diagnostic("W307", f"the class {EVIL} is there", f"a{EVIL}.pt", help=f"rename {EVIL}"))
    assert text == f"a{SHOWN}.pt: W307 the class {SHOWN} is there\n  help: rename {SHOWN}"


def test_a_table_has_a_line_a_row() -> None:
    table = Table(("class", f"of {EVIL}"), ((EVIL, "1"),))
    for text in (table.text(), table.markdown()):
        assert text.replace("\n", "").isprintable()
        assert len(text.splitlines()) == 3


def test_the_console_passes_on_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(verbose=True, color="never")
    for say in (console.result, console.heading, console.note, console.section, console.aside, console.warn):
        say(f"x{EVIL}")
    console.document(json.dumps(f"x{EVIL}", ensure_ascii=False))
    with console.step(f"x{EVIL}"), console.bar(f"x{EVIL}", "images") as update:
        update(1, 1)
    told = capsys.readouterr()
    for text, parts in ((told.out, 3), (told.err, 6)):
        assert text.replace("\n", "").isprintable()
        assert text.count(r"x\x1b[2J") + text.count(r'"x\u001b[2J') == parts


def test_only_the_console_and_what_has_no_names_prints() -> None:
    """So that what is printed passes through `Console`; the others print compressor's own words."""
    own = {"console.py", "interrupts.py", "main.py"}
    for file in (Path(__file__).parents[1] / "compressor").rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        prints = [
            call for call in calls if ast.unparse(call) in ("print", "click.echo", "click.secho", "sys.stdout.write")
        ]
        assert not prints or file.name in own, file


def test_names_and_dates_of_a_file_reach_no_terminal_and_no_report(tmp_path: Path) -> None:
    names = ("\x1b[2J\x1b]0;pwn\x07", "two\nlines\x9b31m", "\u202egnp.exe")
    model = tiny_model()
    model.names = names
    folder = tmp_path / "evil\x1b[31m"
    folder.mkdir()
    weights = folder / "evil\x07.safetensors"
    weights.write_bytes(encode_model(model, Form("float32", "dense"), Provenance({}, f"x{EVIL[:9]}", "0" * 64)))
    data = tiny_data(folder, 3)
    data.write_text(f"val: images\nnames: {json.dumps(names)}\n", encoding="utf-8")
    for words in (
        ("inspect", weights, "--layers"),
        ("evaluate", weights, "--data", data, "--image-size", "64", "--device", "cpu"),
        ("evaluate", weights, "--data", folder / "none\x1b[0m.yaml"),
    ):
        done = compressor(*words, "-v", cwd=tmp_path)
        assert (done.stdout + done.stderr).replace("\n", "").isprintable(), words
        assert r"\x1b" in done.stdout + done.stderr
    done = compressor("inspect", weights, "--json", cwd=tmp_path)
    assert done.stdout.replace("\n", "").isprintable()
    assert json.loads(done.stdout)["names"] == list(names)
