"""The training loop and what it needs: schedules, evaluation, early stopping."""
