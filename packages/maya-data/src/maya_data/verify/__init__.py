"""Compare an index with the audio that it promises: rows, headers, checksums, full decode.

Level 0 looks at rows, sizes and counts; 1 at tar and audio headers; 2 at checksums; 3 decodes everything.
"""

from maya_data.verify.findings import Finding, Verified
from maya_data.verify.run import LEVELS, verify_index

__all__ = ["LEVELS", "Finding", "Verified", "verify_index"]
