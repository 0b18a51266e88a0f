"""Sound that libsndfile does not know (m4a, webm): decoded by ffmpeg, where that is installed."""

import shutil
import subprocess
import tempfile

import numpy as np
import numpy.typing as npt

SAMPLING_RATE = 16000
"""Hz of what comes back."""
EBML = b"\x1aE\xdf\xa3"


def is_foreign(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of MP4 (m4a) or of Matroska (webm)."""
    return head[4:8] == b"ftyp" or head[:4] == EBML


def decode(data: bytes) -> tuple[npt.NDArray[np.int16], int]:
    """Return `(samples (S,), 16000)` of an encoded file, all channels mixed.

    Raises:
        ValueError: ffmpeg is not on the PATH, or cannot decode it.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError("m4a and webm need ffmpeg, which is not on the PATH; install it, or convert to FLAC")
    wanted = ("-f", "s16le", "-ac", "1", "-ar", str(SAMPLING_RATE), "pipe:1")
    with tempfile.NamedTemporaryFile() as file:  # no pipe: an m4a may have its table of contents at the end
        file.write(data)
        file.flush()
        command = (program, "-v", "error", "-i", file.name, *wanted)
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise ValueError(f"ffmpeg cannot decode it ({said[:200]})")
    return np.frombuffer(done.stdout, dtype=np.int16), SAMPLING_RATE
