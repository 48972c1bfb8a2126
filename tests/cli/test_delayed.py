"""A delayed module is imported when something of it is used."""

import os
import subprocess
import sys

CODE = """
import sys
from dual_jax.cli.delayed import delay
name = "scipy.stats"
delay(name, "scipy.no_such_module")
import sklearn.base
from dual_jax.estimators.dual_selector import DUALSelector
names = "scipy.stats._stats_py", "flax", "scipy.no_such_module"
loaded = [other for other in names if other in sys.modules]
import scipy, scipy.stats
from scipy.stats import rankdata
print(loaded, scipy.stats.mode([1, 1, 2]).mode, rankdata([5, 4]).tolist(), scipy.stats is sys.modules[name])
"""


def test_others_import_a_delayed_module_without_loading_it():
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[0] == "[] 1 [2.0, 1.0] True"


THREADS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from dual_jax.cli.delayed import delay
delay("slow_to_load")
import slow_to_load
with ThreadPoolExecutor(8) as pool:
    values = [pool.submit(getattr, slow_to_load, name) for name in ["first", "last"] * 4]
print([value.result() for value in values])
"""


def test_threads_wait_for_a_delayed_module_that_another_one_loads(tmp_path):
    source = "import time, slow_to_load\nfirst = hasattr(slow_to_load, 'last')\ntime.sleep(0.3)\nlast = 2\n"
    (tmp_path / "slow_to_load.py").write_text(source)
    command = [sys.executable, "-c", THREADS]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
    assert out.strip() == str([False, 2] * 4)
