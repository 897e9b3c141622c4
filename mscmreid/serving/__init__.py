"""A web page for a gallery, for people at this machine: FastAPI and three hand-written files, nothing from elsewhere."""
