"""Before torch is imported, which then reads how waiting threads should wait: asleep, as others use the cores too."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
