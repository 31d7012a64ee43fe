"""HTML reports, figures and pictures, drawn from run directories and plain data."""
