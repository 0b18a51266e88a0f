"""Statistics of an index, without reading audio: tables, JSON and one self-contained HTML page."""

from maya_data.stats.gather import describe
from maya_data.stats.report import Histogram, LangStats, Stats

__all__ = ["Histogram", "LangStats", "Stats", "describe"]
