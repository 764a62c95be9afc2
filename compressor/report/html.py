"""Markdown as one HTML page that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.files.reading import MEGABYTE, file_bytes, lies_below

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; padding-bottom: .2rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
table { font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #8884; white-space: nowrap; }
td code { white-space: normal; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .8rem; background: #8882; border-radius: .4rem; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: .3rem solid #8886; }
img { max-width: 100%; height: auto; background: white; }
summary { cursor: pointer; }
"""
GENERATOR = '<meta name="generator" content="compressor">'  # by which pages of compressor are recognised
_LARGEST = 64 * MEGABYTE  # of a picture
_SUMMARY = re.compile(r"<details><summary>(.*)</summary>")
_END = "</details>"
_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"[^>]*>')
_PICTURE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.png")


def page(markdown: str, title: str, folder: Path | None) -> str:
    """One HTML document.

    Args:
        markdown: CommonMark with tables. The only HTML is `<details><summary>...</summary>` and `</details>`, each a
            paragraph of its own; all other tags are shown as text, because names come from strangers.
        title: of the document.
        folder: of the pictures that the Markdown names; they are embedded in the page.
    """
    from markdown_it import MarkdownIt  # noqa: PLC0415  # takes 60 ms, and only pages need it

    markup = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = markup.renderer.render(_folded(markup.parse(markdown), markup), markup.options, {})
    body = _IMAGE.sub(lambda found: _embedded(found, folder), body)
    meta = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{GENERATOR}'
    head = f"<head>{meta}<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
    return f'<!doctype html>\n<html lang="en">\n{head}\n<body>\n{body}</body>\n</html>\n'


def _folded(tokens: Sequence[Token], markup: MarkdownIt) -> list[Token]:
    """The tokens, with paragraphs that are `<details>` tags replaced by these tags.

    Such a paragraph is recognised by its source: text that only looks like a tag has escaped brackets and stays text.
    """
    found: list[Token] = []
    for token in tokens:
        content = token.content if token.type == "inline" and found[-1].type == "paragraph_open" else ""
        summary = _SUMMARY.fullmatch(content)
        if summary is not None:
            content = f"<details><summary>{markup.renderInline(summary[1])}</summary>"
        elif content != _END:
            if not (token.type == "paragraph_close" and found[-1].type == "html_block"):
                found.append(token)
            continue
        found[-1] = replace(token, type="html_block", content=f"{content}\n", children=None)
    return found


def _embedded(image: re.Match[str], folder: Path | None) -> str:
    """A picture of the folder, embedded; for any other image its description, so that the page loads nothing."""
    source, description = image.groups()
    picture = folder / source if folder is not None and _PICTURE.fullmatch(source) else None
    if folder is None or picture is None or not picture.is_file() or not lies_below(picture, folder):
        return f"({description or 'picture'}: {source})"
    encoded = base64.b64encode(file_bytes(picture, _LARGEST)).decode()
    return f'<img src="data:image/png;base64,{encoded}" alt="{description}">'
