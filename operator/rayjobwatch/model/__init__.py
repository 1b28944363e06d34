"""What we know of a watch and what follows from it: pure functions and frozen dataclasses, no I/O, no clock."""
