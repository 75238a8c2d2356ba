"""What the Fund serves to others over SHEP."""
