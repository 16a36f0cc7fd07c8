"""One thread: with as many as cores, torch slows down tenfold as soon as anything else runs."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
