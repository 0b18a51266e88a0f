from importlib.metadata import EntryPoint

import pytest

from maya_data import plugins
from maya_data.readers.final_export import FinalExport


def test_the_reader_is_found_by_name():
    assert plugins.find("readers", "final_export") is FinalExport
    assert FinalExport().name in plugins.available("readers")


def test_unknown_name_is_answered_with_the_nearest():
    message = r"no readers named 'final_expor'; installed: .*final_export.*\. Did you mean 'final_export'\?"
    with pytest.raises(plugins.UnknownPlugin, match=message):
        plugins.find("readers", "final_expor")


def test_import_path_is_taken_only_where_it_is_allowed():
    path = "maya_data.readers.final_export:FinalExport"
    assert plugins.find("readers", path, allow_path=True) is FinalExport
    with pytest.raises(plugins.UnknownPlugin, match="If you just added it, install its package again"):
        plugins.find("readers", path)


def test_two_packages_with_one_name_are_named(monkeypatch):
    points = [EntryPoint("a", value, "maya.readers") for value in ("x:A", "y:A")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.raises(plugins.UnknownPlugin, match="two packages offer readers 'a': x:A and y:A"):
        plugins.available("readers")
