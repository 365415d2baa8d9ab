"""A prompt becomes a video: `mutoscope.load()("a red star drifts left over the sea at night")`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutoscope.systems import System, VideoOutput, load
    from mutoscope.types import Size

__version__ = "0.1.0"

__all__ = ["Size", "System", "VideoOutput", "__version__", "load"]

# Names that need torch are looked up when first used, so that `import mutoscope` stays instant.
_HOME = {
    "Size": "mutoscope.types",
    "System": "mutoscope.systems",
    "VideoOutput": "mutoscope.systems",
    "load": "mutoscope.systems",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mutoscope' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
