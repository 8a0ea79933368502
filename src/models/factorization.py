"""A matrix as the product of two."""

from torch import Tensor, nn


class Factorization(nn.Module):
    """The entry of a matrix of low rank: the product of a vector per row and one per column.

    Args:
        vocabulary: rows and columns together, which are numbered through, >= 2.
        rank: length of the vectors, >= 1.

    The vectors are drawn normally, with a variance of 1 / sqrt(rank), so that the first entries
    have variance 1, from torch's global generator.

    Raises:
        ValueError: a rank below 1.
    """

    def __init__(self, vocabulary: int, rank: int = 4) -> None:
        super().__init__()
        if type(rank) is not int or rank < 1:
            raise ValueError(f"rank must be an integer >= 1, got {rank}")
        self.vectors = nn.Embedding(vocabulary, rank)
        nn.init.normal_(self.vectors.weight, std=rank**-0.25)

    def forward(self, pairs: Tensor) -> Tensor:
        """Entries, shape (batch, 1), of (row, column), shape (batch, 2)."""
        rows, columns = self.vectors(pairs).unbind(1)
        entries: Tensor = (rows * columns).sum(1, keepdim=True)
        return entries
