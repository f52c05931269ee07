"""The fully connected (FC) engine in Amaranth, one file a box of the picture in docs/architecture.md."""
