"""What `mutoscope` says when it is told nothing, or asked who it is."""

import mutoscope
from tests.cli.test_generate import Run


def test_alone_it_shows_its_commands(run: Run) -> None:
    result = run()
    assert result.code == 0
    assert result.err == ""
    for command in ("generate", "replay", "inspect", "train", "evaluate"):
        assert command in result.out


def test_version(run: Run) -> None:
    assert run("--version") == run("--version", "generate")
    assert run("--version").out == f"{mutoscope.__version__}\n"
