"""Training state on disk: everything that an exact resume needs, written so that no crash leaves half of it.

A folder `step-N` holds `state.pt` (weights that train, optimizer, averages, counters) and one `rank-R.pt` a
process (its random streams and batch statistics); where weights are spread over processes, `shards/` holds
the tensors. It is written under another name, gets its `COMPLETE` file last and then its name in one rename;
a folder without `COMPLETE`, or with a file other than that records, is passed over.
The model that a stage hands on is another thing: see `maya_encoder.checkpoint`, `maya_bridge.checkpoint`.
"""


class BrokenCheckpoint(ValueError):
    """A training state that does not fit the run that wants to go on from it, or that cannot be read back."""
