"""`compressor completion`, and what the Tab key offers."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from compressor.cli.completion import complete_code
from compressor.cli.main import cli
from compressor.rules.catalogue import rules
from trials.commands import compressor

PROGRAM = Path(sys.executable).with_name("compressor")
RECIPE = """version: 1
variables: {half: 0.5, whole: "${half}"}
modifiers:
  - {type: prune, allocation: uniform, sparsity: "${whole}"}
  - {type: prune, allocation: uniform, sparsity: 1.5}
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="bash is not there")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes" / "my own").mkdir(parents=True)
    (tmp_path / "recipes" / "two.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "recipes" / "three.yml").write_text("extends: [two.yaml, three.yml]\n", encoding="utf-8")
    (tmp_path / "recipes" / "my own" / "a b.yaml").write_text(RECIPE, encoding="utf-8")
    for name in ("notes.txt", ".hidden.yaml", "twin.yaml.bak"):
        (tmp_path / "recipes" / name).touch()
    (tmp_path / "recipes" / "folder.yaml").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def items(*words: str, program: click.Command = cli) -> list[CompletionItem[str]]:
    """What is offered for the last word."""
    kind = get_completion_class("zsh")
    assert kind is not None
    asked: ShellComplete = kind(program, {}, "compressor", "_COMPRESSOR_COMPLETE")
    return asked.get_completions(list(words[:-1]), words[-1])


def offered(*words: str) -> list[str]:
    return [item.value for item in items(*words)]


def test_commands_options_and_choices() -> None:
    assert offered("ch") == ["check"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("check", "--re") == ["--resolved"]
    assert offered("check", "--format", "g") == ["github"]


@pytest.mark.parametrize("command", ["apply", "plan", "check"])
def test_recipes_are_offered_and_nothing_else(command: str, place: Path) -> None:
    folders, *files = items(command, "recipes/t")
    assert (folders.type, folders.value) == ("dir", "recipes/t")
    assert [item.value for item in files] == ["recipes/three.yml", "recipes/two.yaml"]
    assert offered(command, "")[1:] == []
    assert offered(command, "recipes/")[1:] == ["recipes/three.yml", "recipes/two.yaml"]
    assert offered(command, "recipes/.h")[1:] == ["recipes/.hidden.yaml"]
    assert offered(command, "nowhere/x")[1:] == []
    assert offered(command, f"{place}/recipes/tw")[1:] == [f"{place}/recipes/two.yaml"]


def test_home_folder_stays_as_it_was_typed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    assert offered("check", "~/recipes/tw")[1:] == ["~/recipes/two.yaml"]
    assert offered("check", "~nobody-of-this-name/tw")[1:] == []


def test_check_takes_recipe_after_recipe(place: Path) -> None:
    assert offered("check", "recipes/two.yaml", "recipes/th")[1:] == ["recipes/three.yml"]


def test_weights_are_files_of_any_kind(place: Path) -> None:
    assert [(item.type, item.value) for item in items("check", "--weights", "be")] == [("file", "be")]


def _sparsity(modifier: str) -> list[str]:
    """A number, or a budget."""
    return [f"{modifier}.sparsity{key}=" for key in ("", ".ap_drop", ".size", ".images")]


def test_keys_of_set_come_from_the_schema() -> None:
    assert offered("apply", "--set", "modifiers.0.al") == ["modifiers.0.allocation="]
    assert offered("apply", "--set", "artifact.") == ["artifact.dtype=", "artifact.layout="]
    assert offered("check", "--set", "model.") == ["model.weights=", "model.fuse="]
    assert offered("plan", "--set", "modifiers.1") == []
    every = offered("plan", "--set", "")
    assert {"version=", "data=", "evaluation.image_size=", "modifiers.0.type=", "modifiers.0.sparsity="} <= set(every)
    assert len(every) == len(set(every))
    assert items("plan", "--set", "artifact.dt")[0].help == "number type of the saved weights"


def test_words_follow_the_equals_sign() -> None:
    allocations = [f"modifiers.0.allocation={word}" for word in ("uniform", "global", "lamp", "erk", "sensitivity")]
    assert offered("apply", "--set", "modifiers.0.allocation=") == allocations
    assert offered("apply", "--set", "modifiers.0.type=pr") == ["modifiers.0.type=prune"]
    assert offered("apply", "--set", "artifact.dtype=f") == ["artifact.dtype=float16", "artifact.dtype=float32"]
    assert offered("apply", "--set", "evaluation.baseline=") == [
        "evaluation.baseline=true",
        "evaluation.baseline=false",
    ]
    assert offered("apply", "--set", "modifiers.0.sparsity=") == []
    assert offered("apply", "--set", "no.such.key=") == []


@pytest.mark.parametrize(
    "line", [("apply", "recipes/two.yaml"), ("check", "recipes/two.yaml"), ("plan", "recipes/three.yml")]
)
def test_keys_follow_the_recipe_on_the_line(line: tuple[str, str], place: Path) -> None:
    command, recipe = line
    assert offered(command, recipe, "--set", "modifiers.1.sp") == _sparsity("modifiers.1")
    assert offered(command, recipe, "--set", "modifiers.1.allocation=e") == ["modifiers.1.allocation=erk"]
    assert offered(command, recipe, "--set", "modifiers.2") == []
    assert offered(command, recipe, "--set", "variables.") == ["variables.half=", "variables.whole="]
    assert offered(command, recipe, "--set", "data=x", "--set", "variables.h") == ["variables.half="]


@pytest.mark.parametrize(
    "text", [b"", b"[1", b"\xff", b"variables: 3\nextends: 4\nmodifiers: {a: 1}\n", b"extends: [null]"]
)
def test_recipe_that_cannot_be_read_stops_nothing(text: bytes, place: Path) -> None:
    (place / "odd.yaml").write_bytes(text)
    assert offered("apply", "odd.yaml", "--set", "modifiers.0.sp") == _sparsity("modifiers.0")
    assert offered("apply", "missing.yaml", "--set", "variables.") == []


def test_codes_are_offered_with_their_titles() -> None:
    argument = click.Argument(["codes"], nargs=-1, shell_complete=complete_code)
    program = click.Group("program", {"explain": click.Command("explain", params=[argument])})
    found = items("explain", "R103", "r10", program=program)
    assert [(item.value, item.help) for item in found] == [(r.code, r.title) for r in rules() if r.code[:3] == "R10"]
    assert len(items("explain", "", program=program)) == len(rules())


def ask(place: Path, shell: str, words: list[str], cursor: str) -> str:
    """The program's own answer to a shell."""
    asked = {"_COMPRESSOR_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": cursor}
    done = subprocess.run(
        [PROGRAM], cwd=place, env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")


def test_zsh_and_fish_are_answered_by_the_installed_program(place: Path) -> None:
    words = ["compressor", "apply", "recipes/two.yaml", "--set", "modifiers.1.type=p"]
    assert ask(place, "zsh", words, "4") == "plain\nmodifiers.1.type=prune\n_"
    assert ask(place, "fish", words, words[-1]) == "plain,modifiers.1.type=prune"
    assert ask(place, "zsh", ["compressor", "check", "recipes/tw"], "2").split("\n")[3:] == [
        "plain",
        "recipes/two.yaml",
        "_",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_registers_the_command(shell: str, tmp_path: Path) -> None:
    done = compressor("completion", shell, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_COMPRESSOR_COMPLETE={shell}_complete" in done.stdout
    assert "_compressor_completion" in done.stdout
    assert "%(" not in done.stdout


def test_other_shells_are_refused(tmp_path: Path) -> None:
    done = compressor("completion", "tcsh", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr


NO_TORCH = """
import sys
sys.argv = ["compressor"]
from compressor.__main__ import main
try:
    main()
finally:
    print([module for module in ("torch", "cv2", "numpy", "pycocotools") if module in sys.modules], file=sys.stderr)
"""


def test_answers_without_torch(place: Path) -> None:
    words = "compressor apply recipes/two.yaml --set modifiers."
    asked = {"_COMPRESSOR_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    command = [sys.executable, "-c", NO_TORCH]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert "modifiers.1.sparsity=" in done.stdout


def bash_path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}


@needs_bash
@pytest.mark.parametrize(
    ("words", "cursor", "replies"),
    [
        (["check", "--resolv"], 2, ["--resolved"]),
        (["check", "--format", "j"], 3, ["json"]),
        (["apply", "r.yaml", "--set", "modifiers.0.al"], 4, ["modifiers.0.allocation="]),
        (["apply", "r.yaml", "--set", "modifiers.0.type", "=", "pr"], 6, ["prune"]),
        (["apply", "r.yaml", "--set", "artifact.dtype", "="], 5, ["float16", "float32"]),
        (["apply", "r.yaml", "--set", "=", "artifact.dtype", "=", "float1"], 7, ["float16"]),
        (["apply", "r.yaml", "--set", "modifiers.0.type=pr"], 4, ["modifiers.0.type=prune"]),  # bash told not to part
        (["apply", "--weights", "https", ":", "//x/y.pt", "--dat"], 6, ["--data"]),
        (["check", "--weights", "=", "a.pt", "recipes/tw"], 5, ["recipes/two.yaml"]),
        (["check", "recipes/th", "recipes/two.yaml"], 2, ["recipes/three.yml"]),
        (["check", "--format", ""], 3, ["text", "json", "github"]),
        (["check", "recipes/my\\ own/a"], 2, ["recipes/my own/a b.yaml"]),
    ],
)
def test_bash_function_replies(words: list[str], cursor: int, replies: list[str], place: Path) -> None:
    script = (
        'source <(compressor completion bash); compopt() { :; }; COMP_CWORD=$1; shift; COMP_WORDS=("$@")\n'
        '_compressor_completion compressor; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script, "bash", str(cursor), "compressor", *words]
    done = subprocess.run(command, cwd=place, env=bash_path(), capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (replies, "")


class Keyboard:
    """A real interactive bash on a pseudo-terminal."""

    def __init__(self, place: Path) -> None:
        self.master, slave = os.openpty()
        plain = {"PS1": "prompt> ", "TERM": "dumb", "INPUTRC": os.devnull, "HISTFILE": os.devnull}
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=place,
            env={**bash_path(), **plain},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.press(
            "bind 'set bell-style none'; source <(compressor completion bash); echo rea''dy\n", "ready\r\nprompt> "
        )

    def press(self, keys: str, until: str) -> str:
        """Press keys; what is on screen once `until` is, or whatever came in a minute."""
        os.write(self.master, keys.encode())
        shown, deadline = "", time.monotonic() + 60
        while until not in shown and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.2)[0]:
                shown = re.sub(r"\x1b\[\?2004[hl]\r?", "", shown + os.read(self.master, 65536).decode())
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)
        os.close(self.master)


@needs_bash
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("check rec", "check recipes/"),
        ("check recipes/tw", "check recipes/two.yaml "),
        ("check recipes/my", "check recipes/my\\ own/"),
        ("check recipes/my\\ own/", "check recipes/my\\ own/a\\ b.yaml "),
        ("apply --set modifiers.0.al", "apply --set modifiers.0.allocation="),
        ("apply --set modifiers.0.allocation=gl", "apply --set modifiers.0.allocation=global "),
        ("apply --set modifiers.0.type=p", "apply --set modifiers.0.type=prune "),
        ("apply --set=modifiers.0.type=p", "apply --set=modifiers.0.type=prune "),
        ("check --weights recipes/not", "check --weights recipes/notes.txt "),
    ],
)
def test_tab_in_a_real_bash(typed: str, completed: str, place: Path) -> None:
    keyboard = Keyboard(place)
    try:
        shown = keyboard.press(f"compressor {typed}\t#", until="#")  # handled after the Tab: nothing more will come
    finally:
        keyboard.close()
    assert shown.endswith(f"compressor {completed}#"), shown
