"""The two objectives, by name: `free` is the paper's, `simplex` the recommended one."""

from dual_jax.dual.objectives import free, simplex

OBJECTIVES = {"free": free.OBJECTIVE, "simplex": simplex.OBJECTIVE}
