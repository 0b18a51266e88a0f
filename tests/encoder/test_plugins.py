from importlib.metadata import EntryPoint

import pytest

from maya_encoder import plugins
from maya_encoder.plugins import UnknownPlugin, available, find


def test_own_plugins_are_found_under_their_names():
    for kind, name in [("encoders", "fastconformer"), ("heads", "ctc"), ("heads", "rnnt")]:
        assert find(kind, name).name == name


def test_listing_imports_nothing():
    # By name: a library may put its backport of importlib.metadata in the place of Python's own.
    assert all(type(point).__name__ == "EntryPoint" for point in available("heads").values())


def test_unknown_name_is_answered_with_what_there_is_and_the_nearest():
    with pytest.raises(UnknownPlugin, match=r"no heads named 'rnt'; installed: ctc, .*Did you mean 'rnnt'\?"):
        find("heads", "rnt")


def test_unknown_name_without_neighbour_says_to_install_again():
    with pytest.raises(UnknownPlugin, match="If you just added it, install its package again"):
        find("heads", "zzzzzz")


def test_kind_without_plugins_says_none():
    with pytest.raises(UnknownPlugin, match="installed: none"):
        find("perceivers", "x")


def test_import_path_is_taken_only_when_allowed():
    path = "maya_encoder.heads.ctc:CTCConfig"
    assert find("heads", path, allow_path=True) is find("heads", "ctc")
    with pytest.raises(UnknownPlugin):
        find("heads", path)


def test_one_name_from_two_packages_names_both(monkeypatch):
    twins = [EntryPoint("ctc", f"{package}:CTC", "maya.heads") for package in ("one", "two")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: twins)
    with pytest.raises(UnknownPlugin, match="two packages offer heads 'ctc': one:CTC and two:CTC"):
        available("heads")
