"""How many tests were skipped and why, at the end of every run; tests of extras wait until they are asked for."""

from __future__ import annotations

from collections import Counter

import pytest

EXTRAS = "of extras: slow, or in need of packages of their own; `make test-extras` runs them"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `extras` are skipped unless `-m` asks for them."""
    if "extras" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("extras"):
            item.add_marker(pytest.mark.skip(reason=EXTRAS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per reason, under -q and xdist too."""
    reasons = Counter(reason(report) for report in terminalreporter.getreports("skipped"))
    terminalreporter.section(f"skipped: {reasons.total():,}", sep="-")
    for why, count in sorted(reasons.items(), key=lambda each: (-each[1], each[0])):
        terminalreporter.line(f"{count:6,}  {why}")


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test, or a file of tests, was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
