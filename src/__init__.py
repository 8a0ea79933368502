"""Is optimizer A better than optimizer B, when both are tuned fairly?"""

import signal
import sys

# `python -m src.train` comes by here first. Ctrl-C while its imports load, which takes a second,
# ends the process at once instead of with a traceback; `cli.one_line_errors` handles it from then.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
