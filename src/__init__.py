"""Is optimizer A better than optimizer B, when both are tuned fairly?"""

import atexit
import gc
import os
import signal
import sys

if sys.argv[:1] == ["-m"]:  # `python -m src.train` comes by here first
    # Ctrl-C while its imports load, which takes a second, ends the process at once instead of with
    # a traceback; `cli.one_line_errors` handles it from then.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is imported stays. To look through all of it for garbage again and again while it is
    # loaded, and once more at the end, takes longer than many a run.
    gc.set_threshold(20_000, 20, 20)
    # Triton, which torch's compiler and torchvision import, lists on stderr what is left of it.
    atexit.register(lambda: None if "triton" in sys.modules else gc.freeze())

# OpenMP reads it when torch is loaded. Threads that spin while they wait for each other take the
# processor from the one that they wait for, as soon as there are more busy threads than cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# OpenBLAS, numpy's own, reads it when it is loaded. Its threads spin, too; a process that has only
# one thread can be copied (record 32); and no result then depends on the number of cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
