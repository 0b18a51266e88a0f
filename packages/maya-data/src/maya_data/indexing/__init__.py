"""How an index is built: parts of shards, the work on them, and their merging into columns."""
