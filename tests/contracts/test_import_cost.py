"""`import mutoscope` and `mutoscope --help` are instant: no torch, nothing written."""

import subprocess
import sys

import pytest

WATCHED = """
import os, sys

def forbid_writing(event, args):
    if event == "open":
        path, mode, flags = args
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        writes = writes or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        assert not writes or path == os.devnull, f"writes {path}"
    assert event not in {"os.mkdir", "os.rename", "os.remove"}, f"{event} {args}"

sys.dont_write_bytecode = True
sys.addaudithook(forbid_writing)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WATCHED + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "code",
    [
        "import mutoscope; dir(mutoscope); mutoscope.__version__",
        "from mutoscope.cli.main import main; main(['--help'])",
        "from mutoscope.cli.main import main; main(['generate', '--help'])",
        "from mutoscope.cli.main import main; main(['train', '--help'])",
    ],
)
def test_no_torch_and_nothing_written(code: str) -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'av', 'numpy'}"
    ending = f"""
import atexit
atexit.register(lambda: print("heavy:", sorted({heavy} & set(sys.modules))))
"""
    result = run(ending + code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "heavy: []"


def test_the_watch_sees_a_file_being_written(tmp_path: object) -> None:
    assert "writes" in run(f"open({str(tmp_path) + '/x'!r}, 'w')").stderr
