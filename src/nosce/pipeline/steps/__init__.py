"""The kinds of step: each module is one kind, with a version, a spec, and a function that makes it.

`VERSION` is raised by hand when a change of the code means to change the bytes; the golden tests say
when it was forgotten.
"""
