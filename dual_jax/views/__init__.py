"""From raw columns, images and series to rows in a space."""
