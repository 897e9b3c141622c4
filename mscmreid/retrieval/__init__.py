"""Features of folders of images, and ranked lists of them."""
