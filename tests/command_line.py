"""The permfc command in a test's own process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from permfc_cli.main import app


def permfc(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> Any:
    result = permfc(*arguments)
    assert result.exit_code == 0, result.output
    return result


def fail(*arguments: object) -> str:
    """The one sentence of a command that must end with status 2."""
    result = permfc(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())
