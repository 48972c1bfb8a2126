"""A delayed module is imported when something of it is used."""

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
