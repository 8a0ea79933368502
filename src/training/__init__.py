"""The training loop and what it needs: evaluation, early stopping."""
