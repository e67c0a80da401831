"""Networks of the book: plain, short, readable."""

from companion.models.mlp import MLP

__all__ = ["MLP"]
