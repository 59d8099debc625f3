"""The model ``look``: one monotone curve and a smooth change of colour, read from the scene, at a given brightness."""
