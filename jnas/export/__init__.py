"""Trained templates as files that need no jnas."""

from jnas.export._export import Export, export_model

__all__ = ["Export", "export_model"]
