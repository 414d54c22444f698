//! nats-server's configuration language, options and command line flags.
