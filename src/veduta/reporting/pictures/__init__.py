"""Pictures drawn with Pillow: heat maps, sheets, and the media folder of a report."""
