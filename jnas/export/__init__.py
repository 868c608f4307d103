"""A trained template as files that need no jnas: its command line is `jnas export`."""

from jnas.export._writer import Export as Export
from jnas.export._writer import export_model as export_model
