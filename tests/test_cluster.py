"""Workers on other devices and machines: their rows are those of this machine, and what is lost is trained again."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import jax
import pytest
from conftest import small_arrays
from test_engine import SMALL, rows_of, template
from test_workers import process_pool

import jnas
from jnas.errors import JnasError
from jnas.space import Conv2d, Dropout, Flatten, Linear, ReLU, Template
from jnas.train import EngineOptions, TrainingRequest, Trial, run_trials
from jnas.train._engine import executor, ray_worker, slurm_worker, workers

CONV = Template([Conv2d(8, 3, 2), ReLU(), Dropout(0.2), Flatten(), Linear(3)], (3, 8, 8))
TRIALS = [*SMALL, CONV, Trial(SMALL[0], 1), Trial(SMALL[1], learning_rate=1e30)]
STATUSES = ["ok"] * 5 + ["diverged"]
LOOPBACK = "127.0.0.2"
"""An address of this machine only. Ray takes 127.0.0.1 for the machine's outer address."""
ONE_THREAD = {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}


@pytest.fixture(scope="module")
def data():
    return jnas.load_data(small_arrays())


@pytest.fixture(scope="module")
def expected(data):
    """The rows of two processes of this machine with one thread each."""
    with pytest.MonkeyPatch.context() as patch:
        pool = process_pool(ONE_THREAD)
        patch.setattr(executor, "cpu_pool", lambda num_threads: pool)
        rows = rows_of(TRIALS, data, workers=2)
        pool.close()
    assert [row.status for row in rows] == STATUSES
    return curves(rows)


def request_of(trials, data, epochs=2, store=None):
    return TrainingRequest.of(trials, data, jnas.Recipe(epochs=epochs, batch_size=24, val_fraction=0.25), 0, 0, store)


def curves(rows):
    """The epochs as text, in which NaN equals NaN."""
    return [str(row.epochs) for row in rows]


def assert_done_once(rows, trials):
    """Each trial has one row, and it is "ok"."""
    assert Counter(row.key for row in rows).most_common(1)[0][1] == 1 and len(rows) == len(trials)
    assert {row.status for row in rows} == {"ok"}


# The GPUs of a machine; here each is a process that computes on a CPU.


@pytest.fixture(scope="module")
def two_gpus():
    """Pretended ones; their workers start once for all tests."""
    executor.gpu_pool.cache_clear()
    yield [ONE_THREAD | {"CUDA_VISIBLE_DEVICES": str(number)} for number in (0, 1)]
    executor.gpu_pool(2).close()


@pytest.fixture
def two_devices(two_gpus, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(executor, "gpu_environments", lambda: two_gpus)


def test_each_gpu_has_a_worker(data, expected, two_devices, monkeypatch):
    monkeypatch.delenv("JNAS_WORKERS")
    pool = executor.gpu_pool(2)
    rows = rows_of(TRIALS, data)
    assert [row.status for row in rows] == STATUSES and curves(rows) == expected
    assert {row.host for row in rows} == {os.uname().nodename} and all(row.device for row in rows)
    seen = [worker._environment for worker, _ in pool._idle]
    assert sorted(one["CUDA_VISIBLE_DEVICES"] for one in seen) == ["0", "1"]
    assert {one["XLA_PYTHON_CLIENT_MEM_FRACTION"] for one in seen} == {"0.90"}


@pytest.mark.slow
def test_gpu_worker_that_ends_costs_no_row(data, two_devices, monkeypatch):
    """Not SIGKILL, which is how the system ends what takes too much memory."""
    monkeypatch.delenv("JNAS_WORKERS")
    pool, ended = executor.gpu_pool(2), []

    def end(_):
        if not ended:
            ended.append(next(iter(pool._busy)))
            os.kill(ended[0]._process.pid, signal.SIGABRT)

    trials = [Trial(one, seed) for one in SMALL for seed in range(2)]
    assert_done_once(list(run_trials(request_of(trials, data, epochs=100), EngineOptions(on_epoch=end))), trials)
    assert ended


@pytest.mark.slow
def test_trial_that_takes_workers_with_it_is_a_row_in_the_end(data, two_devices, monkeypatch):
    monkeypatch.delenv("JNAS_WORKERS")
    receive, lost = executor.ProcessWorker.receive, []

    def fail(worker):
        message = receive(worker)
        if message == 1 and any(worker is busy for busy in executor.gpu_pool(2)._busy):
            lost.append(worker)
            worker.kill()
            raise workers.WorkerDied("it ended with exit code 1")
        return message

    monkeypatch.setattr(executor.ProcessWorker, "receive", fail)
    rows = rows_of(SMALL[:1], data)
    assert [row.status for row in rows] == ["error"] and len(lost) == 3
    assert "3 workers in turn were lost with it, the last one on " in rows[0].message


def test_gpu_environments_are_those_that_this_process_sees(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert executor.gpu_environments() == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert executor.gpu_environments() == [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]


# SLURM; here submitit starts its jobs as processes of this machine.


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("JNAS_DRIVER_HOST", "127.0.0.1")
    for name, value in ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    jobs = submitit.LocalExecutor(tmp_path / "jobs")
    monkeypatch.setattr(slurm_worker, "make_executor", lambda count: jobs)
    slurm_worker.slurm_pool.cache_clear()
    yield
    slurm_worker.slurm_pool(2).close()


@pytest.mark.slow
def test_slurm_jobs_give_the_rows_of_processes(data, expected, slurm):
    rows = rows_of(TRIALS, data, workers="slurm:2")
    assert [row.status for row in rows] == STATUSES and curves(rows) == expected


@pytest.mark.exhaustive
def test_slurm_job_that_is_ended_costs_no_row(data, slurm):
    pool, ended = slurm_worker.slurm_pool(2), []

    def end(_):
        if not ended:
            ended.append(next(iter(pool._busy)))
            ended[0]._job.cancel()

    trials = [Trial(one, seed) for one in SMALL for seed in range(2)]
    options = EngineOptions(workers="slurm:2", on_epoch=end)
    assert_done_once(list(run_trials(request_of(trials, data, epochs=100), options)), trials)
    assert ended and not ended[0].is_usable()


def test_listener_turns_away_who_does_not_know_the_key(monkeypatch):
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client

    monkeypatch.setenv("JNAS_DRIVER_HOST", "127.0.0.1")
    listener = slurm_worker.Listener()
    arrived = listener.expect("token")
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client(listener.address, authkey=b"another").send("token")
    with Client(listener.address, authkey=listener.key) as client:
        client.send("token")
        assert arrived.get(timeout=10)


def test_without_slurm_it_says_so(data, monkeypatch):
    slurm_worker.slurm_pool.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JnasError, match="sbatch must be found for workers slurm:2; run jnas on a machine that submits"):
        rows_of(SMALL[:1], data, workers="slurm:2")


# Ray: a head and two machines of one CPU each; here all are processes of this machine.


@pytest.fixture(scope="module")
def ray():
    return pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster(ray):
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_ip_address": LOOPBACK, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_ray_workers_give_the_rows_of_processes(cluster, ray, data, expected, monkeypatch):
    put, images = ray.put, []
    monkeypatch.setattr(ray, "put", lambda value: images.append(value) or put(value))
    rows = rows_of(TRIALS, data, workers="ray")
    assert [row.status for row in rows] == STATUSES and curves(rows) == expected
    assert len(images) == 1, "the images of both workers"
    assert curves(rows_of(TRIALS, data, workers="ray")) == expected


@pytest.mark.exhaustive
def test_node_that_goes_costs_no_row(cluster, data):
    removed = []

    def remove(_):
        if not removed:
            removed.append(cluster.list_all_nodes()[-1])
            cluster.remove_node(removed[0])

    trials = [Trial(one, seed) for one in SMALL for seed in range(2)]
    try:
        options = EngineOptions(workers="ray", on_epoch=remove)
        assert_done_once(list(run_trials(request_of(trials, data, epochs=100), options)), trials)
    finally:
        cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)
    assert removed


@pytest.mark.exhaustive
def test_node_that_joins_trains(cluster, data):
    added = []

    def add(_):
        if not added:
            added.append(cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK))

    pool = ray_worker.ray_pool("ray")
    busy = []
    options = EngineOptions(workers="ray", on_epoch=lambda _: add(_) or busy.append(len(pool._busy)))
    widths = (32, 64, 128, 256)
    layers = [[Flatten(), Linear(one), ReLU(), Linear(two), ReLU(), Linear(3)] for one in widths for two in widths]
    trials = [Template(some, (3, 8, 8)) for some in layers]
    try:
        assert_done_once(list(run_trials(request_of(trials, data, epochs=300), options)), trials)
    finally:
        cluster.remove_node(added[0])
    assert max(busy) == 3


@pytest.mark.exhaustive
def test_ray_worker_that_compiles_too_long_is_a_row(cluster, data):
    rows = rows_of([template(width) for width in (256, 512)], data, workers="ray", compile_timeout=0.001)
    assert {row.status for row in rows} <= {"timeout", "ok"}


@pytest.mark.exhaustive
def test_ray_worker_that_takes_all_memory_is_a_row(cluster, ray, data, monkeypatch):
    get = ray.get

    def fail(reference, **options):
        if (answer := get(reference, **options)) == 1:  # the first epoch
            raise ray.exceptions.OutOfMemoryError("a worker took too much")
        return answer

    monkeypatch.setattr(ray, "get", fail)
    rows = rows_of(SMALL[:2], data, workers="ray")
    assert {row.status for row in rows} == {"out_of_memory"} and all(row.host for row in rows)
    monkeypatch.undo()
    assert {row.status for row in rows_of(SMALL[:2], data, workers="ray")} == {"ok"}


@pytest.mark.exhaustive
def test_ten_faults_in_a_row_lose_nothing(cluster, ray, data):
    """Actors that are ended and machines that go, in turn, while trials train; then no process is left over."""
    pool, num_epochs, faults = ray_worker.ray_pool("ray"), 0, []

    def end_actor():
        ray.kill(next(iter(pool._busy))._actor)

    def remove_node():
        cluster.remove_node(cluster.list_all_nodes()[-1])
        cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK)

    def on_epoch(_):
        nonlocal num_epochs
        num_epochs += 1
        if len(faults) < 10 and num_epochs > 150 * (len(faults) + 1) and pool._busy:
            faults.append(remove_node if len(faults) % 3 == 2 else end_actor)
            faults[-1]()

    trials = [Trial(one, seed) for one in SMALL for seed in range(6)]
    options = EngineOptions(workers="ray", on_epoch=on_epoch)
    assert_done_once(list(run_trials(request_of(trials, data, epochs=100), options)), trials)
    assert len(faults) == 10
    deadline = time.monotonic() + 60
    while (count := len(_actor_processes())) > 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert count <= 2, "those of the pool"


def _actor_processes():
    return subprocess.run(["pgrep", "-f", "^ray::WorkerActor"], capture_output=True, text=True).stdout.split()


SEARCH = """
import sys, ray, jnas
from conftest import small_arrays
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
options = dict(generations=1, trials_per_generation=4, epochs=30, final_epochs=1, batch_size=24, num_random=8)
jnas.search(small_arrays(), store=sys.argv[2], workers="ray", report=False, verbose=False, **options)
"""


@pytest.mark.exhaustive
def test_driver_that_is_killed_goes_on_with_the_same_rows(cluster, ray, tmp_path):
    def start(name):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        path = str(tmp_path / f"{name}.duckdb")
        return subprocess.Popen([sys.executable, "-c", SEARCH, cluster.address, path], env=environment)

    def rows(name):
        frame = jnas.Store(tmp_path / f"{name}.duckdb").to_df()
        return sorted(zip(frame.hash, frame.recipe_id, frame.val_acc_final, strict=True))

    for worker, _ in ray_worker.ray_pool("ray")._idle:
        worker.kill()  # the CPUs are for the searches
    assert start("whole").wait(300) == 0
    killed = start("killed")
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and killed.poll() is None:
        path = tmp_path / "killed.duckdb"
        if path.exists() and path.stat().st_size > 0:
            time.sleep(4)
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert start("killed").wait(300) == 0
    assert rows("killed") == rows("whole")


def test_without_a_cluster_it_says_so(data, ray, monkeypatch):
    """In a process of its own: this one may be connected."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_worker, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(ray, "init", lambda *_, **__: time.sleep(2))
    with pytest.raises(JnasError, match=r"a Ray cluster that runs, got 'ray://127.0.0.1:1' \(no answer in 0.5 s\)"):
        rows_of(SMALL[:1], data, workers="ray://127.0.0.1:1")


def test_without_ray_it_says_so(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(JnasError, match=r"Ray must be installed for workers ray: pip install 'jnas\[ray\]'"):
        rows_of(SMALL[:1], data, workers="ray")
    monkeypatch.setitem(sys.modules, "submitit", None)
    slurm_worker.slurm_pool.cache_clear()
    with pytest.raises(JnasError, match=r"submitit must be installed for workers slurm:1: pip install 'jnas\[slurm\]'"):
        rows_of(SMALL[:1], data, workers="slurm:1")


@pytest.mark.parametrize("value", ["Ray", "ray:", "ray://", "ray://host", "slurm", "slurm:0", "-1", -1, 1.5, True, []])
def test_workers_that_are_no_place_are_refused(value):
    with pytest.raises(JnasError, match="workers must be"):
        EngineOptions(workers=value)


@pytest.mark.parametrize("value", [0, 4, "4", "ray", "ray://head:10001", "ray://10.0.0.1:10001", "slurm:8"])
def test_workers_that_are_a_place(value):
    assert EngineOptions(workers=value).workers == str(value)
