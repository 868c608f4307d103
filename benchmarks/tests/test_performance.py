"""Scripts that time something, at toy size: they run, and their figures have the names that the pages read."""

import sys

import pytest
from claims import RENDERERS


def rendered(name, figures):
    """The claims and the table of a benchmark's figures."""
    claims, table = RENDERERS[name]
    return claims(figures), table(figures)


def test_steps_times_all_competitors(run_main, hashes):
    pytest.importorskip("torch")
    import steps

    options = ("--hashes", hashes, "--rounds", 1, "--seconds", 0.01, "--baseline", steps.ROOT)
    figures = run_main(steps, *options)["figures"]
    assert set(figures["rows"][0]["ms"]) == {"jnas", "baseline", "torch channels_last", "torch contiguous"}
    assert figures["ratio_torch"]["all"]["n"] == figures["ratio_baseline"]["below 1 M MACs"]["n"] == 1
    claims, table = rendered("steps", figures)
    assert len(claims) == 2 and "| all | 1 |" in table


def test_population_compares_with_torch(run_main, hashes, images):
    pytest.importorskip("torch")
    import population

    options = ("--hashes", hashes, "--epochs", 1, "--images", 512, "--data", images)
    figures = run_main(population, *options)["figures"]
    assert figures["ratio_total"] > 0 and figures["ratio_train"] > 0 and figures["ratio_total_warm"] > 0
    assert "jnas_torch" in figures["agreement"] and figures["validation_images"] == 128
    claims, table = rendered("gpu_population", figures)
    assert "cold cache" in claims[0].value and "| PyTorch |" in table


def test_population_no_validation_images_is_one_sentence(run_main, hashes, images):
    import population

    with pytest.raises(population.jnas.JnasError, match="--images must leave"):
        run_main(population, "--hashes", hashes, "--images", 640, "--data", images)


def test_programs_measures_compiling_and_lanes(run_main, hashes):
    import programs

    figures = run_main(programs, "--hashes", hashes, "--lanes", 2)["figures"]
    assert figures["compile_seconds"] > 0 and [row["lanes"] for row in figures["steps"]] == [2]
    assert "2 side by side" in rendered("programs", figures)[1]


def test_reading_measures_two_runs(run_main):
    import reading

    figures = run_main(reading, "--count", 8)["figures"]
    assert figures["pictures"]["count"] == 8 and figures["second"]["seconds"] > 0
    assert figures["first"]["array_mib"] == figures["second"]["array_mib"] == 8 * 64 * 64 * 3 / 2**20


def test_generations_counts_individuals(run_main):
    import generations

    figures = run_main(generations, "--sizes", 64, "--repeats", 1, "--no-predict")["figures"]
    assert figures["64"]["individuals_per_second_without_predict"] > 0
    assert "| 64 |" in rendered("generations", figures)[1]


def test_soak_medians_and_growth():
    import soak

    samples = [(minute / 2, 100.0 + minute // 20, 50.0) for minute in range(101)]
    medians = soak.windows(samples)
    assert [row["minute"] for row in medians] == [0, 10, 20, 30, 40, 50]
    assert medians[1] == {"minute": 10, "driver_mib": 101, "workers_mib": 50, "together_mib": 151}
    assert soak.growth(medians) == pytest.approx({"driver": 3 / 101, "workers": 0, "together": 3 / 151})
    assert soak.growth(medians[:3]) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_soak_sees_the_memory_of_workers(tmp_path, monkeypatch):
    import soak

    monkeypatch.setattr(soak, "EVERY", 0.1)
    child = "import time; block = bytearray(2**27); time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    samples, exit_code = soak.watch([sys.executable, "-c", parent], tmp_path)
    assert exit_code == 0 and max(workers for _, _, workers in samples) > 128
    assert max(driver for _, driver, _ in samples) < 128


def test_cluster_serves_workers_that_sleep(run_main, monkeypatch):
    import cluster

    monkeypatch.setattr(cluster, "SLEEP", 0.05)
    monkeypatch.setattr(cluster, "SECONDS", 0.2)
    figures = run_main(cluster, "--templates", 0, "--workers", 10)["figures"]
    assert [row["workers"] for row in figures["served"]] == [1, 10]
    assert all(0 < row["with_store"] <= row["asked"] * 1.1 for row in figures["served"])
    figures |= {"ray_seconds": 1.0, "pipes_seconds": 1.0, "ray_to_pipes": 1.0}
    claims, text = rendered("cluster", figures)
    assert len(claims) == 2 and "| 10 |" in text
