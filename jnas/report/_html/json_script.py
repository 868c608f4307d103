"""Values as JSON within a page."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd


def to_json(value: Any) -> str:
    """Returns JSON of values, arrays included, that is also safe within a script element; NaN is null."""
    text = json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    kind = type(value)  # exact types first: most values are of these, and there are many
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is dict:
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, pd.Timestamp):
        return f"{value.isoformat(timespec='seconds')}Z"
    return None if value is pd.NaT or value is pd.NA else str(value)
