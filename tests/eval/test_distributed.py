"""The metrics on one and on two processes (gloo), the last batch padded as a distributed sampler pads it."""

import json
import os
import subprocess
import sys

import pytest

from maya_eval.metrics import CharErrors, ClusterErrors, SentenceErrors, WordErrors

METRICS = (WordErrors, CharErrors, ClusterErrors, SentenceErrors)
WORKER = """
import json, sys
import torch.distributed as dist
from maya_eval import metrics

rank, store, names, rows = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
padded = rows + rows[: len(rows) % 2]
for mine in (padded[rank::2], rows if rank == 0 else []):
    found = {}
    for name in names:
        metric = getattr(metrics, name)()
        for at in range(0, len(mine), 2):
            ids, refs, hyps = zip(*mine[at : at + 2])
            metric.update(refs, hyps, ids)
        found[name] = {key: value.item() for key, value in metric.compute().items()}
    print(json.dumps(found))
dist.destroy_process_group()
"""

ROWS = [
    ("u1", "आज मौसम", "आज मौसम"),
    ("u2", "a b c", "a x c d"),
    ("u3", "இன்று மழை பெய்யும்", "இன்று"),
    ("u4", "", "b"),
    ("u5", "f g h i", "f g h j"),
]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What both ranks computed: with a padded half of the rows each, and with one rank that saw nothing."""
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    store = str(tmp_path_factory.mktemp("gloo") / "store")
    arguments = [store, json.dumps([metric.__name__ for metric in METRICS]), json.dumps(ROWS)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], outputs[0][1] + outputs[1][1]
    return [[json.loads(line) for line in out.splitlines()[-2:]] for out, _ in outputs]


@pytest.mark.parametrize("metric", METRICS)
def test_two_padded_processes_give_what_one_gives(metric, two_processes):
    alone = metric()
    ids, refs, hyps = zip(*ROWS, strict=True)
    alone.update(refs, hyps, ids)
    expected = {key: value.item() for key, value in alone.compute().items()}
    assert expected["utterances"] == 5
    for rank in two_processes:
        assert [result[metric.__name__] for result in rank] == [expected, expected]
