"""The engine's schedule: what trains at the same time, what waits, and how time is shared out."""

import threading
import time
from typing import ClassVar

import pytest

from jnas.train import Watch
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine import scheduler as schedule
from jnas.train._engine.memory_plan import Device
from jnas.train._engine.scheduler import train

DEVICE = Device(memory=100, macs=1e12, bandwidth=1e12, launch=1e-6, programs=2)


class Fake:
    """A group that compiles and trains nothing, and notes down who trains beside it."""

    together: ClassVar[set] = set()
    most = 0
    apart = False

    def __init__(self, memory, device=DEVICE, chunks=2, work=lambda: time.sleep(0.02)):
        self.memory, self.device, self.chunks, self.work = memory, device, chunks, work
        self.refused, self.compile_seconds = False, 0.5
        self.jobs, self.seconds = [object() for _ in range(chunks)], 0.0

        self.width = 1

    def may_begin(self):
        return True

    def let_go(self):
        pass

    def compile(self):
        pass

    def run(self, until, keep, on_epoch, clock):
        Fake.together.add(self)
        Fake.most = max(Fake.most, len(Fake.together))
        for job in self.jobs:
            begun = clock()
            self.work()
            on_epoch(1)
            self.seconds += clock() - begun
            if job is self.jobs[-1]:
                Fake.together.discard(self)
            yield [job]

    def report(self):
        return self


@pytest.fixture(autouse=True)
def nobody():
    Fake.together, Fake.most = set(), 0


def test_two_programs_train_at_the_same_time_and_share_its_seconds():
    meeting = threading.Barrier(2, timeout=30)
    work = [Fake(10, work=meeting.wait), Fake(10, work=meeting.wait)]  # neither ends alone
    watch = Watch()
    chunks = list(train(work, 1, watch=watch))
    assert sorted(map(id, (job for chunk in chunks for job in chunk))) == sorted(id(j) for g in work for j in g.jobs)
    assert watch.models == 4 and watch.programs == 2 and watch.compiling == 1.0 and set(watch.reports) == set(work)
    assert sum(group.seconds for group in work) <= watch.seconds + 1e-3


@pytest.mark.parametrize(("memory", "programs", "most"), [(50, 2, 2), (60, 2, 1), (500, 2, 1), (10, 1, 1)], ids=str)
def test_what_does_not_fit_beside_others_waits(memory, programs, most):
    device = Device(memory=100, macs=1e12, bandwidth=1e12, launch=1e-6, programs=programs)
    assert len(list(train([Fake(memory, device) for _ in range(4)], 1))) == 8
    assert Fake.most == most


def test_who_stops_listening_ends_the_training():
    left = Fake(10, chunks=1000)
    chunks = train([left], 1)
    next(chunks)
    chunks.close()
    before = left.seconds
    time.sleep(0.1)
    assert left.seconds == before and not [t for t in threading.enumerate() if t.name.startswith("jnas-")]


@pytest.mark.parametrize("where", ["compile", "work"])
def test_what_a_group_raises_reaches_the_caller(where):
    def broken():
        raise ZeroDivisionError(where)

    group = Fake(10)
    setattr(group, where, broken)
    with pytest.raises(ZeroDivisionError, match=where):
        list(train([group, Fake(10)], 1))


def test_once_asked_to_stop_it_finishes_what_trains_and_begins_nothing():
    asked = threading.Event()

    def work():
        asked.set()
        time.sleep(0.01)

    first = Fake(10, chunks=1000, work=work)
    others = [Fake(100) for _ in range(5)]  # none fits beside another
    done = [job for chunk in train([first, *others], 1, stop=asked.is_set) for job in chunk]
    assert 1 <= len(done) < 1000 and done == first.jobs[: len(done)], "the chunk in training is the last one"


def test_who_compiles_slowly_does_not_keep_others_from_being_forgotten(monkeypatch):
    class Slow(Fake):
        def compile(self):
            done.wait(30)

    done, forgotten = threading.Event(), []
    monkeypatch.setattr(schedule, "compile_workers", lambda: 4)
    monkeypatch.setattr(remembered, "too_many", lambda: True)
    monkeypatch.setattr(remembered, "forget", lambda: forgotten.append(1))
    others = [Fake(10, chunks=1) for _ in range(20)]
    chunks = train([Slow(10), *others], 1)
    assert [job for _ in others for job in next(chunks)] and len(forgotten) == 21
    done.set()
    assert len(list(chunks)) == 2


def test_an_end_waits_for_a_compiler_no_longer_than_its_limit():
    """One that hangs would keep the winner from being trained."""

    class Hangs(Fake):
        def compile(self):
            done.wait(30)

    asked, done = threading.Event(), threading.Event()
    threading.Timer(0.1, asked.set).start()
    begun = time.monotonic()
    assert list(train([Hangs(10)], 1, stop=asked.is_set, compile_limit=0.5)) == []
    assert time.monotonic() - begun < 20
    done.set()


def test_asked_to_stop_it_does_not_wait_for_the_compiler():
    class Slow(Fake):
        def compile(self):
            time.sleep(0.5)

    asked, watch = threading.Event(), Watch()
    threading.Timer(0.1, asked.set).start()
    assert list(train([Slow(10), Slow(10)], 1, stop=asked.is_set, watch=watch)) == []
    assert watch.programs == 0 and not [t for t in threading.enumerate() if t.name.startswith("jnas-")]
