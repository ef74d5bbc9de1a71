"""Reading certificate transparency logs: their bytes, over HTTP, believed by nobody yet."""
