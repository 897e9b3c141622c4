"""The Runner, its loops, and the files and processes it works with."""
