"""One module per figure: data in, picture (pdf, png) and csv out."""
