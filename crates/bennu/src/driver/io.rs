//! [`Io`]: the transport under a driver, and the buffer that idle connections do not have.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

use crate::endpoint::Entered;

/// What one read takes at most. Not larger, so that one connection's turn stays short.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// A transport.
pub(crate) enum Io {
    /// A plain socket. Its write half is in the connection's outbound queue, so that others can
    /// write to it as well.
    Socket(OwnedReadHalf),
    /// Anything else, read and written by the driver alone.
    Stream(Box<dyn Stream>),
    /// None: the client polls. Holds the session's entry, by which its requests find it.
    Polled { _entered: Box<Entered> },
    /// It is gone.
    Closed,
}

/// What is neither a socket of ours nor gone: TLS, HTTP/2, a pipe in a test.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Io {
    /// Reads what is there, up to the length of the buffer; 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let poll = match self {
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, &mut buf),
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Polled { .. } => Poll::Pending,
            Self::Closed => Poll::Ready(Ok(())),
        };
        poll.map_ok(|()| buf.filled().len())
    }
}

thread_local! {
    /// Connections of a thread read one after another, and none of them keeps what it has read:
    /// one buffer serves them all.
    static READ_BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// The read buffer of the thread, given back when dropped.
pub(super) struct ReadBuffer(Option<Box<[u8]>>);

impl ReadBuffer {
    pub(super) fn take() -> Self {
        let buffer = READ_BUFFER.take();
        Self(Some(buffer.unwrap_or_else(|| vec![0; READ_BYTES].into())))
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        READ_BUFFER.set(self.0.take());
    }
}
