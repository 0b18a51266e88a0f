"""Exports of a segment index for other toolkits: NeMo's tarred layout (linked) and lhotse Shar (copied)."""

from maya_data.export.folder import Exported
from maya_data.export.nemo import NemoExport, export_nemo
from maya_data.export.shar import export_shar

__all__ = ["Exported", "NemoExport", "export_nemo", "export_shar"]
