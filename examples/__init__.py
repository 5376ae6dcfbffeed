"""What others build on the bus and the API; see README.md."""
