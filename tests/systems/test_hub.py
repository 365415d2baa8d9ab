"""Models of the Hugging Face Hub: fetched once, only in parts that hold no code, and kept.

A Hub in this process speaks as much of the real one's language as `huggingface_hub` asks for.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from mutoscope.errors import ModelError
from mutoscope.systems.load import load

COMMIT = "5" * 40
WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


class Hub(ThreadingHTTPServer):
    """Has one model, "owner/tiny": the files of a folder.

    Attributes:
        folder: The files.
        given: Paths of the files that were fetched, in order.
        broken: Paths of the files that it cannot give.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.given: list[str] = []
        self.broken: set[str] = set()


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/models/owner/tiny/revision/main":
            self._send(json.dumps({"id": "owner/tiny", "sha": COMMIT}).encode())
        elif path == f"/api/models/owner/tiny/tree/{COMMIT}":
            self._send(json.dumps([self._entry(each) for each in self._files()]).encode())
        else:
            self._give(path.removeprefix(f"/owner/tiny/resolve/{COMMIT}/"))

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def _files(self) -> list[Path]:
        return sorted(path for path in self.server.folder.rglob("*") if path.is_file())

    def _entry(self, path: Path) -> dict[str, object]:
        name = path.relative_to(self.server.folder).as_posix()
        size = path.stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": sha1(name.encode()).hexdigest()}

    def _give(self, name: str) -> None:
        file = self.server.folder / name
        if name in self.server.broken or not file.is_file():
            self.send_response(403)
            self.end_headers()
            return
        if self.command == "GET":
            self.server.given.append(name)
        self._send(file.read_bytes(), ETag=f'"{sha1(name.encode()).hexdigest()}"')

    def _send(self, content: bytes, **headers: str) -> None:
        self.send_response(200)
        told = {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(
    copy_of_tiny: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """The Hub that is asked in this test; its model has files beside that no model needs."""
    folder = copy_of_tiny()
    shutil.copy(folder / WEIGHTS, folder / "vae" / "diffusion_pytorch_model.bin")
    (folder / "pipeline.py").write_text("raise SystemExit")
    with Hub(folder) as server:
        # What HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE set when the library is imported.
        address = f"http://127.0.0.1:{server.server_port}"
        url = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "kept"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.chdir(tmp_path)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_model_is_fetched_once_and_without_what_could_be_code(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = load(hub.folder).weights_hash()
    assert load("owner/tiny").weights_hash() == wanted
    assert WEIGHTS in hub.given
    assert {Path(name).suffix for name in hub.given} <= {".safetensors", ".json", ".txt"}
    assert len(set(hub.given)) == len(hub.given)
    hub.given.clear()
    assert load("owner/tiny").weights_hash() == wanted
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load("owner/tiny").weights_hash() == wanted
    assert hub.given == []


def test_what_was_begun_is_gone_on_with(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.broken.add(WEIGHTS)
    with pytest.raises(ModelError, match="the Hugging Face Hub did not give it"):
        load("owner/tiny")
    begun = set(hub.given)
    assert "model_index.json" in begun
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match=r"put its model_index\.json .* in owner/tiny\.") as no:
            load("owner/tiny")
        assert "\n" not in str(no.value)
    hub.broken.clear()
    hub.given.clear()
    assert load("owner/tiny").weights_hash() == load(hub.folder).weights_hash()
    assert WEIGHTS in hub.given
    assert begun.isdisjoint(hub.given)


def test_a_model_of_another_kind_is_refused_before_its_weights_come(hub: Hub) -> None:
    (hub.folder / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    with pytest.raises(ModelError, match="holds a WanPipeline"):
        load("owner/tiny")
    assert {Path(name).suffix for name in hub.given} == {".json"}


@pytest.mark.parametrize("name", ["owner/none", "owner/-", "owner/a..b"])
def test_what_the_hub_does_not_have_is_one_line(hub: Hub, name: str) -> None:
    with pytest.raises(ModelError, match=f"model '{name}' is no folder here") as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_folder_comes_before_a_model_of_that_name(hub: Hub) -> None:
    shutil.copytree(hub.folder, "owner/tiny")
    assert load("owner/tiny").weights_hash() == load(hub.folder).weights_hash()
    assert hub.given == []
