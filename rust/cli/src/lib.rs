//! The stonechat command: server, pub, sub, req, reply.
