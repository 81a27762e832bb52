"""Triangles: meshes read and normalised, rays, solid grids, points on surfaces, marching cubes.

On the ground: NumPy, SciPy and Open3D, and PyTorch3D for the rays; no other room, no file of the pipeline. A folder in
it reads the formats, a file each, another how things look.
"""
