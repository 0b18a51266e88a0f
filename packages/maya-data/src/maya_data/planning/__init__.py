"""What an epoch holds and which segments are in which batch: filters, mix, buckets, plan."""
