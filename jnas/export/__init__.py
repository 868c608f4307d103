"""Trained templates: read from a store with their weights, and as files that need no jnas."""

from jnas.export._export import Export, export_model
from jnas.export._forms import Format, InputKind
from jnas.export._source import TrainedTemplate, load_module, select

__all__ = ["Export", "Format", "InputKind", "TrainedTemplate", "export_model", "load_module", "select"]
