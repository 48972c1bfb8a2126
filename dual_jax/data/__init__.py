"""The host side: files and built-in data sets in, checked and scaled tables out."""
