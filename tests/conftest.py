"""Shared by all tests: a compilation cache that lives for the run."""

import os
import tempfile

# Workers of one run share what is compiled; nothing is kept between runs, so a test never sees another tree's cache.
run = os.environ.setdefault("JNAS_TEST_CACHE", tempfile.mkdtemp(prefix="jnas-test-cache-"))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", run)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
