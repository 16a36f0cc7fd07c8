"""Following a run's events, and the tables of its curves."""

import json

import pytest

from symeq_core import follow
from symeq_core.config import override
from symeq_core.presets import preset
from symeq_core.runs import Run, state_of
from symeq_core.worker import Worker


def metrics(step, p=-1.0, q=-2.0, seconds=None):
    seconds = step / 10 if seconds is None else seconds
    return {
        "event": "metrics",
        "step": step,
        "seconds": seconds,
        "utility": {"p": p, "q": q},
        "grad_norm": {"q": 0.5, "p": 0.25},
    }


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", preset("digits-flat-symmetric"))


def test_only_new_events_are_read_and_none_twice(run):
    follower = follow.Follower(run)
    assert not follower.refresh()
    for step in range(1, 6):
        run.append(metrics(step))
        assert follower.refresh()
        assert [e["step"] for e in follower.of("metrics")] == list(range(1, step + 1))
        assert not follower.refresh()
    assert follower.last("metrics")["step"] == 5
    assert follower.last("probe") is None
    assert [e["step"] for e in follower.events] == [e["step"] for e in run.events()]


def test_a_glance_tells_what_the_run_itself_does(run):
    """After each of these events, also for one who looks only now."""
    glance = follow.Glance(run)
    events = (
        {"event": "start", "step": 0},
        metrics(10),
        {"event": "paused", "step": 10},
        {"event": "running", "step": 10},
        metrics(20),
        {"event": "set", "changes": {"train.lr": 0.1}},
        {"event": "resume", "step": 10},
        {"event": "finished", "step": 30},
    )
    assert (glance.step, glance.state) == (0, None)
    for event in events:
        run.append(event)
        glance.refresh()
        late = follow.Glance(run)
        late.refresh()
        for looked in (glance, late):
            assert looked.step == run.step()
            assert state_of(False, looked.state) == run.state()
    (run.folder / "events.jsonl").write_text("")
    glance.refresh()
    assert (glance.step, glance.state) == (0, None)


def test_a_line_that_is_still_being_written_waits(run):
    follower, path = follow.Follower(run), run.folder / "events.jsonl"
    line = json.dumps(metrics(7)) + "\n"
    path.write_text(line[:20])
    assert not follower.refresh()
    path.write_text(line)
    assert follower.refresh()
    assert follower.last("metrics")["step"] == 7


def test_a_resume_takes_back_what_came_after_it(run):
    follower = follow.Follower(run)
    for step in (10, 20, 30):
        run.append(metrics(step))
    follower.refresh()
    run.append({"event": "resume", "step": 20})
    run.append(metrics(25))
    follower.refresh()
    assert [e["step"] for e in follower.of("metrics")] == [10, 20, 25]


def test_a_replaced_file_is_read_anew(run):
    follower = follow.Follower(run)
    for step in range(5):
        run.append(metrics(step))
    follower.refresh()
    (run.folder / "events.jsonl").unlink()
    run.append(metrics(1))
    follower.refresh()
    assert [e["step"] for e in follower.of("metrics")] == [1]


@pytest.mark.parametrize("n", [0, 1, 599, 600, 601, 12345])
def test_thinning_keeps_the_ends_and_bounds_the_number(n):
    events = [metrics(k) for k in range(n)]
    thin = follow.thinned(events)
    assert len(thin) <= follow.POINTS + 1
    assert thin[:1] == events[:1]
    assert thin[-1:] == events[-1:]
    assert n > follow.POINTS or thin == events


def test_tables_of_a_real_run(tmp_path):
    changes = {"train.steps": 40, "train.log_every": 10, "train.probe_every": 20, "train.snapshot_every": 0}
    for learner, names in (("symmetric", {"L_p", "L_q"}), ("elbo", {"ELBO"})):
        run = Run.create(tmp_path / learner, override(preset(f"digits-flat-{learner}"), changes))
        Worker(run).work()
        follower = follow.Follower(run)
        follower.refresh()
        table = follow.utilities(follower.of("metrics"), learner)
        assert set(table.series) == names
        assert list(table.step.unique()) == [10, 20, 30, 40]
        probes = follow.probes(follower.of("probe"))
        assert set(probes.series) == {"L_p", "L_q", "ELBO"}
        assert (probes.stderr > 0).all()
        assert set(follow.gradient_norms(follower.of("metrics")).series) == {"p", "q"}


def test_time_left():
    events = [metrics(k, seconds=k * 0.5) for k in range(0, 100, 10)]
    assert follow.time_left(events, 190) == pytest.approx(50)
    assert follow.time_left(events, 50) == 0
    assert follow.time_left(events[:1], 190) is None
