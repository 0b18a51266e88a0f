"""What two packages must both know, and may not import from each other, is the same in both."""

from importlib import import_module
from pathlib import Path

import pytest

KINDS = ("readers", "encoders", "heads", "projectors", "strategies", "transcribers")


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_look_ups_find_the_same_plugins(kind):
    modules = [import_module(f"{name}.plugins") for name in ("maya_data", "maya_encoder", "maya_eval")]
    names = [set(module.available(kind)) for module in modules]
    assert names[0] == names[1] == names[2]
    if names[0]:
        name = min(names[0])
        assert len({module.find(kind, name) for module in modules}) == 1


@pytest.mark.parametrize("name", ["ctx", "", "no:such"])
def test_the_three_look_ups_refuse_with_the_same_words(name):
    said = []
    for package in ("maya_data", "maya_encoder", "maya_eval"):
        module = import_module(f"{package}.plugins")
        with pytest.raises(module.UnknownPlugin) as error:
            module.find("heads", name)
        said.append(str(error.value))
    assert len(set(said)) == 1


def test_both_scripts_fold_and_unfold_alike():
    data, encoder = import_module("maya_data.script"), import_module("maya_encoder.script")
    text = "".join(map(chr, range(0x20, 0xE00)))
    assert data.fold(text) == encoder.fold(text)
    assert tuple(data.LANGS) == tuple(encoder.LANGS)
    for lang in data.LANGS:
        assert data.unfold(data.fold(text), lang) == encoder.unfold(encoder.fold(text), lang)


def test_training_text_is_left_alone_by_the_scoring_profile():
    """`indic-strict-v1` of a text is the same with and without `asr-v1` before it."""
    from maya_data.text import profile as text_profile
    from maya_eval.normalize import profile as scoring_profile

    strict, asr = scoring_profile("indic-strict-v1"), text_profile("asr-v1")
    for lang, text in {
        "hi": "आज  सोमवार है, १२ तारीख़।",
        "ml": "അവന്\u200d വന്നു",
        "en": "It's ten o'clock, isn't it?",
        "ta": "நான் தமிழ் பேசுவேன்.",
        "or": "ମୁଁ ଓଡ଼ିଆ କହେ।",
    }.items():
        assert strict(asr.normalize(text, lang), lang) == strict(text, lang)


@pytest.mark.parametrize("name", ["units", "dask_fleet"])
def test_what_shares_work_is_the_same_file_in_both_packages(name):
    sources = [import_module(f"{package}.{name}").__file__ for package in ("maya_bridge", "maya_eval")]
    first, second = (Path(source).read_bytes() for source in sources)
    assert first == second
