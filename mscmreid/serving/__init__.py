"""A web page for a gallery, for people at this machine: FastAPI and hand-written files, nothing from elsewhere."""
