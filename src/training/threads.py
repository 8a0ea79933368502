"""How many CPU threads a run computes with."""

LARGE = 2**26  # multiply-adds of one forward pass; docs/benchmarks.md has the figures


def threads_for(batch_size: int, parameters: int) -> int:
    """The number of threads where the config names none: two for a large model, else one.

    It follows from the config and the data's shapes alone. Another number of threads adds up in
    another order, so a number taken from the machine would give each machine other bits. Threads
    of a small model spend their time waiting for each other, and beside busy processes much more.

    Args:
        batch_size: samples in a step, >= 1.
        parameters: numbers in the model, >= 0. Times the batch they make the multiply-adds of a
            forward pass, exactly so for linear layers.
    """
    return 2 if batch_size * parameters >= LARGE else 1
