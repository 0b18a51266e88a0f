"""What `build_loader` takes, and what it says of a wrong setting."""

import re

import pytest
import torch

from maya_data.loading.loader import LoaderConfig, build_loader
from maya_data.planning.mix import MixConfig
from maya_data.planning.plan import PlanConfig


def _same(first, second):
    return (first.ids, first.texts, first.step) == (second.ids, second.texts, second.step) and torch.equal(
        first.waveforms, second.waveforms
    )


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (
            {"plan": {"batch_duraton": 3}},
            "`plan.batch_duraton` is no setting; did you mean `plan.batch_duration`?",
        ),
        ({"plan": {"filter": {"lang": ["en"]}}}, "`plan.filter.lang` is no setting; did you mean"),
        ({"workers": 3}, "`workers` is no setting"),
        ({"mix": {}}, "`mix` is no setting; did you mean `plan.mix`?"),
        ({"augment": {"noise": {"prob": 3}}}, "`prob` must be from 0 to 1, got 3"),
        ({"plan": 3}, "`plan` must be a mapping of settings, got 3"),
        ({"num_workers": -1}, "`num_workers` must be 0 or more, got -1"),
        ({"prefetch": 0}, "`prefetch` must be 1 or more, got 0"),
        ({"num_workers": "two"}, "`num_workers` must be a whole number, got 'two'"),
        ({"max_bad_fraction": 2}, "`max_bad_fraction` must be from 0 to 1, got 2"),
        ({"start_method": "thread"}, "`start_method` must be fork, spawn or forkserver, got 'thread'"),
        ({"index": ""}, "`index` must name the folder of an index"),
        ({"text_profile": "none"}, "no text profile named 'none'"),
    ],
)
def test_wrong_setting_is_named(index, config, wrong):
    with pytest.raises(ValueError, match=re.escape(wrong)):
        build_loader({"index": index.path} | config)


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 1), (0, 3)])
def test_rank_or_number_of_ranks_that_cannot_be_is_refused(index, rank, world_size):
    with pytest.raises(ValueError, match=r"`rank` must|`sync_width` must"):
        build_loader({"index": index.path, "plan": {"sync_width": 2}}, rank, world_size)


def test_config_may_be_a_yaml_file_or_an_object(index, tmp_path):
    (tmp_path / "loader.yaml").write_text(
        f"index: {index.path}\nplan: {{batch_duration: 3, mix: {{alpha: 0.3}}}}\n"
    )
    plan = PlanConfig(batch_duration=3, mix=MixConfig(alpha=0.3))
    first, second = (
        build_loader(tmp_path / "loader.yaml"),
        build_loader(LoaderConfig(index=index.path, plan=plan)),
    )
    assert _same(next(first), next(second))
    assert first.state_dict() == second.state_dict()
    (tmp_path / "loader.yaml").write_text("plan: {seeds: 3}\n")
    with pytest.raises(
        ValueError, match=r"loader.yaml: `plan.seeds` is no setting; did you mean `plan.(seed|speeds)`"
    ):
        build_loader(tmp_path / "loader.yaml")


def test_index_may_be_open_already(index):
    first = build_loader({"index": index, "plan": {"batch_duration": 3}})
    second = build_loader({"index": str(index.path), "plan": {"batch_duration": 3}})
    assert first.index is index
    assert _same(next(first), next(second))
