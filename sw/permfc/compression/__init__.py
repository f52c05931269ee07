"""From a trained float network to a compressed one: scales, classes and sequences, feedback of errors, integers."""
