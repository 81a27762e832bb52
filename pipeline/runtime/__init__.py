"""How the work is run: parameters, whole files or none, the machine's means, errors in one line, progress.

The ground floor: it knows no other room, and nothing here changes what a stage makes.
"""
