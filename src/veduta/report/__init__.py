"""What Veduta shows: self-contained HTML pages, and every figure on them."""
