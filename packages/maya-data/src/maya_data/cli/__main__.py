"""`python -m maya_data.cli` is `maya-data`."""

import sys

from maya_data.cli import main

if __name__ == "__main__":
    sys.exit(main())
