"""`python -m fraud_retraining`."""

import sys

from fraud_retraining.cli import main

sys.exit(main())
