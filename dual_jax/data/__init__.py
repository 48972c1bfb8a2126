"""Files and built-in data sets in, tables with ids out; checks at the edge; files that survive a killed run.

A pool flows through `files` (what a file is), `delimited` with `headers`, `arrow` or `arrays` (its bytes as a
table), `columns` (which columns are features, and which are ids) and `tables` (the pool). What a file leaves
open is decided by evidence and said in ``Pool.guesses``; where two readings are plausible and picks would
differ, the file is refused with both readings and the option that decides.

pyarrow is a core dependency, for these reasons. It reads every table here (CSV, JSON lines, Parquet, Arrow,
Feather, saved Hugging Face data sets), where the former reader of our own knew two and was slower. Its wheel
has 55 MB and 170 MB when installed, beside 349 MB of jaxlib and 113 MB of SciPy; it needs no other package.
Importing dual_jax takes no longer, as pyarrow is imported when a file is read, which a test holds. Colab and
most environments with pandas have it already, and frames of other libraries come through it as well.
"""
