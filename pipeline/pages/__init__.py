"""What people look at: pictures of shapes, charts, the page.

It may know `scoring`, for the names of the figures, and `geometry`, for rays, and takes everything else as arguments.
"""
