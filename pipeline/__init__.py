"""The road from a mesh to a metric: a module here is a stage or a command, a folder is a room that they share.

Stages, in the order of the road: synthesize, catalog, render, voxelize, pack, train, baselines, metrics, compare,
report. Commands: predict, imagine, web, score, export, show, inspect, explain. `python -m pipeline` lists them. A room
says in its `__init__.py` what lives there and what it may know; imports point down, from stages to rooms and from rooms
to the rooms below them.
"""
