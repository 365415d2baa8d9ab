"""Where a saved class lives is a file format: `model_index.json` records its module path."""

import sys
from importlib import import_module

import diffusers
import pytest

from tests.contracts.source import PACKAGE

# Add to this list; never change a line of it. A class that must move leaves its old module behind.
SAVED_CLASSES = [
    "mutoscope.metrics.oracle.Oracle",
    "mutoscope.nn.video_encoder.VideoEncoder",
    "mutoscope.nn.video_unet.VideoUNet",
    "mutoscope.systems.lavie.LaVie",
]


@pytest.mark.parametrize("path", SAVED_CLASSES)
def test_a_saved_class_stays_where_its_files_say(path: str) -> None:
    module, name = path.rsplit(".", 1)
    saved = getattr(import_module(module), name)
    assert (saved.__module__, saved.__name__) == (module, name)


@pytest.mark.parametrize("path", [p for p in SAVED_CLASSES if ".systems." not in p])
def test_its_module_names_the_mixin_that_diffusers_looks_for(path: str) -> None:
    module = import_module(path.rsplit(".", 1)[0])
    assert module.__dict__["ModelMixin"] is diffusers.ModelMixin
    assert module.__dict__["ConfigMixin"] is diffusers.ConfigMixin


def test_every_model_of_the_package_is_on_the_list() -> None:
    for path in PACKAGE.rglob("*.py"):
        if "ModelMixin" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            import_module(".".join(parts))
    for name, module in list(sys.modules.items()):
        if not name.startswith("mutoscope."):
            continue
        for thing in vars(module).values():
            if (
                isinstance(thing, type)
                and issubclass(thing, diffusers.ModelMixin)
                and thing.__module__.startswith("mutoscope.")
            ):
                assert f"{thing.__module__}.{thing.__name__}" in SAVED_CLASSES


def test_no_package_folder_is_named_like_a_diffusers_pipeline() -> None:
    # diffusers would record a class under such a folder as its own, and could not load it again.
    for folder in (p for p in PACKAGE.rglob("*") if p.is_dir() and p.name != "__pycache__"):
        if (folder / "__init__.py").exists():
            assert not hasattr(diffusers.pipelines, folder.name), folder.name
