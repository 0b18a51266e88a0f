"""`python -m maya_eval.cli`, where the script is not on the path."""

import sys

from maya_eval.cli import main

sys.exit(main())
