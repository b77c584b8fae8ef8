"""Before torch is imported, which reads at import how waiting threads should wait: asleep, as other work runs beside."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
