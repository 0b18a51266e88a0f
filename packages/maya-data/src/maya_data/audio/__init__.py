"""Audio off the disk or the network: files and URIs, ranges, decoding, noise."""
