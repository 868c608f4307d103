"""`jnas cache`."""

from dataclasses import dataclass

from jnas._runtime.compilation_cache import clear_caches, describe_caches


@dataclass(frozen=True)
class Options:
    """Show the caches of compiled programs and of pictures on disk, or empty them. What is removed is made again when
    needed."""

    clear: bool = False
    """Remove all of them."""


def run(options: Options) -> None:
    if options.clear:
        print(f"Freed {_format_bytes(clear_caches())}.")
        return
    caches = describe_caches()
    if not caches:
        print("No cache: neither the folder XDG_CACHE_HOME nor ~/.cache can be written.")
    for cache in caches:
        size, limit = _format_bytes(cache.num_bytes), _format_bytes(cache.max_bytes)
        print(f"{cache.name}: {cache.num_files:,} files, {size} of at most {limit}, in {cache.folder}")


def _format_bytes(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"
