"""The AR&D method (arXiv 2602.22253): sparse autoencoder, scores, ranking, names, steering.

Knows arrays, tables and models; no web page, no command line, no printing.
"""
