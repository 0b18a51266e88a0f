"""The errors that end a start with one sentence instead of a traceback."""

import errno

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""Numbers of the errors that say: the disk is full, the file may not grow, the quota is used up."""

FIRST_FAILURE = "maya/first_failure"
"""Key under which the first process of a run that fails leaves its rank and status, for the others."""


class ConfigError(ValueError):
    """A config that cannot be used; the message names the key and the file or argument that set it."""


class LaunchError(ValueError):
    """Devices, processes or files that a run asks for and this machine does not have."""
