"""What people look at: pictures of shapes, charts, the page.

It may know the names of metrics (`scoring/tables.py`), and takes everything else as arguments.
"""
