"""The formats of ``restore export``, and the packages that they need; does not import torch."""

from importlib.util import find_spec

from restore.config.errors import UserError
from restore.io.errors import SettingError

# format -> packages from the extra ``export``
NEEDS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "torch_export": (),
    "safetensors": (),
}


def refuse_unavailable(format_: str) -> None:
    """Refuse an unknown format, or one whose packages are missing.

    Raises:
        SettingError, UserError
    """
    if format_ not in NEEDS:
        raise SettingError("format", format_, ", ".join(NEEDS))
    missing = [name for name in NEEDS[format_] if find_spec(name) is None]
    if missing:
        raise UserError(
            f"format={format_} needs {', '.join(missing)}; in a checkout: pip install -c constraints.txt '.[export]'"
        )
