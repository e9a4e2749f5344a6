"""The version, alone in its file so that every module and the build can read it."""

__version__ = "0.1.0"
