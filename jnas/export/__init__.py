"""Trained templates as files that need no jnas."""

from jnas.export._export import Export as Export
from jnas.export._export import export_model as export_model

__all__ = ["Export", "export_model"]
