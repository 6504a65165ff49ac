"""Runs scripts/torch_speed.py with the same arguments, and adds to its result which BLAS it used."""
import contextlib
import io
import json
import os
import runpy

from matmul_numpy import blas

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "torch_speed.py")

printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    runpy.run_path(SCRIPT, run_name="__main__")
print(json.dumps({**json.loads(printed.getvalue()), **blas()}))
