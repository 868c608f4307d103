"""Trained templates as files that need no jnas."""

from jnas.export._export import Export, export_model
from jnas.export._forms import Format, InputKind

__all__ = ["Export", "Format", "InputKind", "export_model"]
