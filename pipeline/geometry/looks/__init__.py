"""How meshes look: materials, textures and colours of vertices, from files onto faces and into pictures."""
