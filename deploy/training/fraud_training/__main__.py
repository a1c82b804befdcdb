"""`python -m fraud_training`."""

import sys

from fraud_training.cli import main

sys.exit(main())
