"""Values as JSON within a page."""

import json
from typing import Any

import numpy as np
import pandas as pd


def to_json(value: Any) -> str:
    """Returns JSON of values, arrays included, that is also safe within a script element; NaN is null."""
    plain = json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)
    text = json.dumps(plain, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """Returns a value that JSON does not have as one that it has."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, pd.Timestamp):
        return f"{value.isoformat(timespec='seconds')}Z"
    return None if value is pd.NaT or value is pd.NA else str(value)
