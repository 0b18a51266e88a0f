from importlib.metadata import EntryPoint

import pytest

from maya_eval import plugins


@pytest.fixture
def installed(monkeypatch):
    points = [EntryPoint("maya-llm", "collections:Counter", "maya.transcribers")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    return points


def test_a_plugin_is_found_by_name(installed):
    assert plugins.find("transcribers", "maya-llm").__name__ == "Counter"


def test_an_unknown_name_is_answered_with_what_is_installed(installed):
    with pytest.raises(plugins.UnknownPlugin, match=r"installed: maya-llm\. Did you mean 'maya-llm'"):
        plugins.find("transcribers", "maya-lm")


def test_an_import_path_needs_permission(installed):
    assert plugins.find("transcribers", "collections:OrderedDict", allow_path=True).__name__ == "OrderedDict"
    with pytest.raises(plugins.UnknownPlugin):
        plugins.find("transcribers", "collections:OrderedDict")


def test_one_name_from_two_packages_is_an_error(installed):
    installed.append(EntryPoint("maya-llm", "collections:deque", "maya.transcribers"))
    with pytest.raises(plugins.UnknownPlugin, match="collections:Counter and collections:deque"):
        plugins.available("transcribers")
