"""One file a format of meshes: bytes -> vertices and triangles, as the format's own text says, or a refusal by name."""
