"""Seeds depend on their purpose alone, and what is drawn under one on nothing that other threads do."""

import threading
import time

import torch

from symeq_core.seeds import derive, seeded


def test_a_seed_is_a_function_of_seed_and_purpose():
    assert derive(0, "a", 1) == derive(0, "a", 1)
    assert len({derive(0, "a", 1), derive(1, "a", 1), derive(0, "b", 1), derive(0, "a", 2)}) == 4
    assert 0 <= derive(0, "a") < 1 << 63


def test_afterwards_randomness_goes_on_as_if_nothing_had_been():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(1):
        first = torch.rand(3)
        with seeded(2):  # as often as one likes
            torch.rand(5)
        more = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    with seeded(1):
        assert torch.equal(torch.rand(5)[:3], first)
    with seeded(1):
        torch.rand(3)
        assert torch.equal(torch.rand(2), more)


def test_threads_do_not_draw_each_others_numbers():
    def draws(seed):
        with seeded(seed):
            found = []
            for _ in range(5):
                found.append(torch.rand(()).item())
                time.sleep(0.002)  # lets the others go on
            return found

    expected = {seed: draws(seed) for seed in range(4)}
    found = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: draws(k)})) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == expected
