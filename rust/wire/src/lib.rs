//! Sans-IO parser and encoder of the NATS client protocol.
