"""Systems: named cascades of stages, each read like its paper and saved as a diffusers folder."""

from mutoscope.systems.load import KNOWN, load
from mutoscope.systems.system import System, VideoOutput

__all__ = ["KNOWN", "System", "VideoOutput", "load"]
