"""Attacks on Jinja2's sandbox, as a stranger's template would try them: each is refused, and does nothing."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compressor.errors import InputError
from compressor.report.render import render_report
from tests.report.made_up import full_record

GLOBALS = ("cycler", "joiner", "lipsum", "namespace", "dict", "range")
ATTACKS = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ ''|attr('__class__')|attr('__mro__') }}",
    "{{ ().__class__.__base__.__subclasses__()[80].__init__.__globals__ }}",
    "{{ run.__class__.__init__.__globals__['os'].system('touch owned') }}",
    "{{ run.__init__.__globals__ }}",
    "{{ run.__dict__ }}",
    "{{ run.__dataclass_fields__ }}",
    "{{ run['__class__'] }}",
    "{{ run.__reduce__() }}",
    "{{ run.__setattr__('name', 'x') }}",
    "{{ run.__repr__.__func__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}",
    *(f"{{{{ {name}.__init__.__globals__['os'].popen('touch owned').read() }}}}" for name in GLOBALS),
    *(f"{{{{ {name}.__class__.__subclasses__() }}}}" for name in GLOBALS),
    "{{ lipsum.__globals__['os'].system('touch owned') }}",
    "{{ lipsum.__globals__.__builtins__.open('owned', 'w') }}",
    "{{ lipsum|attr('\\x5f\\x5fglobals\\x5f\\x5f') }}",
    "{{ lipsum['__glo' ~ 'bals__'] }}",
    "{% set g = lipsum|attr(['__glo', 'bals__']|join) %}{{ g.os }}",
    "{{ '{0.__class__.__mro__}'.format(run) }}",
    "{{ '{0.__init__.__globals__}'.format(run) }}",
    "{{ '{x.__class__}'.format_map({'x': run}) }}",
    "{{ ('%s' | format(run)).__class__ }}",
    "{{ ([run]|map(attribute='__class__')|list)[0].__mro__ }}",
    "{{ ([run]|map('attr', '__init__')|list)[0].__globals__ }}",
    "{{ ([run]|groupby('__class__'))[0].grouper.__mro__ }}",
    "{{ [run]|selectattr('__class__.__mro__')|list }}",
    "{{ [run]|sort(attribute='__class__.__name__') }}",
    "{{ [run]|sum(attribute='__class__') }}",
    "{{ run.recipe.update({'a': 1}) }}",
    "{{ run.recipe.pop('artifact') }}",
    "{{ run.recipe.setdefault('x', 1) }}",
    "{% set _ = run.recipe.__setitem__('x', 1) %}",
    "{{ tables.clear() }}",
    "{{ pictures.append('x') }}",
    "{{ pictures.sort() }}",
    "{{ pictures.extend(['x']) }}",
    "{% set run.name = 'x' %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('touch owned') }}",
    "{% from 'os' import system %}{{ system('touch owned') }}",
    "{% extends '/etc/passwd' %}",
    "{{ __import__('os').system('touch owned') }}",
    "{{ open('owned', 'w') }}",
    "{{ eval('1') }}",
    "{{ exec('1') }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{% macro m() %}{{ varargs.__class__.__mro__ }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{{ range(1000000000)|list|length }}",
    "{% for x in (1).__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ (run.to_json or run).__func__.__code__ }}",
    "{{ loop.__init__.__globals__ }}",
    "{% debug %}",
    "{% do run.recipe.clear() %}",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_does_nothing(attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []
    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen")):
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: ran.append(name))
    record = full_record()
    before = copy.deepcopy(record)
    shown: Any = None
    with pytest.raises(InputError) as caught:
        shown = render_report(record, attack, "theirs.j2")
    assert shown is None
    assert str(caught.value).startswith("theirs.j2: U915 the template cannot be rendered: ")
    assert ran == []
    assert record == before
    assert list(tmp_path.iterdir()) == []


def test_the_corpus_is_as_large_as_the_documentation_says() -> None:
    assert len(set(ATTACKS)) == len(ATTACKS)
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert f"{len(ATTACKS)} templates" in page
