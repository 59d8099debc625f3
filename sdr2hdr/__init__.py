"""SDR video to true HDR10: ``from sdr2hdr import convert, load_model, detect_scenes``."""

import sys
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["__version__", "convert", "detect_scenes", "load_model"]

TYPE_CHECKING = False  # typing takes as long to load as all of this; type checkers know the name
if TYPE_CHECKING:
    from sdr2hdr.convert import convert, detect_scenes
    from sdr2hdr.weights import load_model

_LAZY = {
    "convert": "sdr2hdr.convert",
    "detect_scenes": "sdr2hdr.convert",
    "load_model": "sdr2hdr.weights",
}


class _Package(ModuleType):
    """The package, whose ``convert`` is the function: importing the module of that name would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        named = name in _LAZY and isinstance(value, ModuleType)
        super().__setattr__(name, getattr(value, name) if named else value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    # torch and av load only when a name that needs them is used
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
