//! The PyO3 module: a thin shim on the server and the command line.
