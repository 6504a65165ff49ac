"""Times numpy's matrix products, which are BLAS's: milliseconds by name, for a JSON list of shapes. Names the BLAS."""
import ctypes
import json
import os
import statistics
import sys
import time

import numpy


def loaded():
    """The BLAS libraries that this process has loaded, by file name."""
    try:
        with open("/proc/self/maps") as maps:
            files = sorted({line.split()[-1] for line in maps if "blas" in line or "mkl" in line})
    except OSError:
        return {}
    return {file.split("/")[-1]: file for file in files if ".so" in file}


def openblas_says(file):
    """The kernel that OpenBLAS chose for this processor, and its number of threads; empty if it does not say."""
    library = ctypes.CDLL(file)
    for name in ("openblas_get_{}", "openblas_get_{}64_", "scipy_openblas_get_{}", "scipy_openblas_get_{}64_"):
        if not hasattr(library, name.format("corename")):
            continue
        kernel = getattr(library, name.format("corename"))
        kernel.restype = ctypes.c_char_p
        threads = getattr(library, name.format("num_threads"))()
        return f", kernel {kernel().decode()}, {threads} threads"
    return ""


def blas():
    """What the products run on: {"blas": file name, kernel and threads, "reference": True for the slow reference library}."""
    files = loaded()
    known = [name for name in files if "openblas" in name or "mkl" in name]
    if known:
        says = openblas_says(files[known[0]]) if "openblas" in known[0] else ""
        return {"blas": known[0] + says, "reference": False}
    plain = [name for name in files if name.startswith("libblas.so")]
    if plain:
        # Debian's alternatives: a folder of this name holds the reference library, another one a faster one.
        folder = os.path.realpath(files[plain[0]]).split("/")[-2]
        return {"blas": f"{folder}/{plain[0]}", "reference": folder == "blas"}
    return {"blas": next(iter(files), "BLAS of its own"), "reference": False}


def timed(a, b, batch_ms, runs):
    def batch(repeats):
        start = time.perf_counter()
        for _ in range(repeats):
            numpy.matmul(a, b)
        return 1000 * (time.perf_counter() - start) / repeats

    batch(1)
    repeats = max(1, min(500, int(batch_ms / batch(1)) + 1))
    return statistics.median(batch(repeats) for _ in range(runs))


def main():
    spec = json.loads(sys.argv[1])
    rng = numpy.random.default_rng(0)
    ms = {}
    for shape in spec["shapes"]:
        lead = [shape["batch"]] if shape["batch"] > 1 else []

        def operand(rows, columns, transposed):
            stored = lead + ([columns, rows] if transposed else [rows, columns])
            it = rng.standard_normal(stored, dtype=numpy.float32)
            return numpy.swapaxes(it, -1, -2) if transposed else it

        a = operand(shape["M"], shape["K"], shape["transA"])
        b = operand(shape["K"], shape["N"], shape["transB"])
        ms[shape["name"]] = timed(a, b, spec["batch_ms"], spec["runs"])
    used = blas()
    print(json.dumps({"peer": f"numpy {numpy.__version__}, {used['blas']}", "ms": ms, **used}))


if __name__ == "__main__":
    main()
