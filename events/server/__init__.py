"""The server program: listening sockets, one process or several, HTTP with timeouts."""
