"""How well an acoustic model and the transcripts agree: scores of all segments, and the cleanest."""
