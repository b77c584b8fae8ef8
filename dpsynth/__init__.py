"""dpsynth: a reproducible companion to the papers on differentially private image synthesis."""

import os

# Threads that wait should sleep. Torch's spin by default, which makes a step ten times slower as soon as anything else
# runs on the same cores. It is read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
