"""Warm starts: a process that has imported what runs import forks one process per run, instead of a new interpreter.

`launcher.py` is the command of a work pool, `__main__.py` the warm process that it asks. Both work for any Prefect
project: which modules are imported is an argument, and the imports inside this folder are relative, so that it can be
copied elsewhere. Linux only; wherever no warm process answers, the launcher starts the run as Prefect does.
"""
