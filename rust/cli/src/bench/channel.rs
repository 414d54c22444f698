//! The byte stream of a connection: a socket, or TLS over one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A byte stream; a read or write ends early at the socket's time limit.
pub(super) enum Channel {
    Plain(TcpStream),
    // Boxed: the TLS state takes a kilobyte, and most measurements have none.
    Encrypted(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Channel {
    /// Returns TLS over a socket; the server's certificate must name `host`. The handshake is still to be done.
    ///
    /// # Errors
    /// The name can't stand in a certificate.
    pub(super) fn encrypted(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let session = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
        Ok(Self::Encrypted(Box::new(StreamOwned::new(session, socket))))
    }

    /// Continues the handshake; returns `true` when it is complete.
    ///
    /// # Errors
    /// The handshake fails, or the socket's time limit has passed: then the next call continues.
    pub(super) fn shake_hands(&mut self) -> io::Result<bool> {
        let Self::Encrypted(stream) = self else { return Ok(true) };
        let StreamOwned { conn, sock } = &mut **stream;
        if conn.is_handshaking() {
            conn.complete_io(sock)?;
        }
        Ok(!conn.is_handshaking())
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Encrypted(stream) => stream.get_ref(),
        }
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Encrypted(stream) => match stream.read(buffer) {
                // A server may close the connection without the end message of TLS.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}
