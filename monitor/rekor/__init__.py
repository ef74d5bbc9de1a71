"""Reading Rekor: a log's bytes, over HTTP, believed by nobody yet."""
