"""What every test and doctest finds in place."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _names_in_doctests(doctest_namespace):
    doctest_namespace["torch"] = torch
