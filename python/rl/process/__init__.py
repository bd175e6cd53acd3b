"""Between data and policy: steps that normalise, rename and convert, and the files they are kept in.

Arrays are NumPy or torch alike (array API); nothing here imports torch. `modes`, `features` and `options` need the
standard library alone, so configuration modules may import them.
"""
