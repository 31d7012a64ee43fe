"""HTML pages: reports, inspection and equations."""
