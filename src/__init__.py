"""fairstep: is optimizer A better than B, when both are tuned fairly?"""

import os

# OpenMP reads it when torch is loaded. Threads that spin while they wait for each other take the
# processor from the one that they wait for, as soon as there are more busy threads than cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
