"""Where a network looks: maps of images from a model and tensors, and the picture of them."""
