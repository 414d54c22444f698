//! Accounts, sessions, outbound buffers and interest; no sockets, no clock.
