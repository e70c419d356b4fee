"""How the phantoms are drawn: scenes, parts of bodies and faces, and the files they are written to."""
