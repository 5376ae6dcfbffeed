"""From a file or stream of rows to grouped transactions."""
