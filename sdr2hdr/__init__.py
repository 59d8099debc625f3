"""SDR video to true HDR10: ``from sdr2hdr import convert, load_model, detect_scenes``."""

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


def __getattr__(name: str) -> object:
    # torch and av load only when a name that needs them is used
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value  # also replaces the submodule that the import just bound under the name
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
