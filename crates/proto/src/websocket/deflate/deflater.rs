//! [`Deflater`]: one compressor, for messages of any connection. Which messages are worth it by their length is
//! its user's decision.

use std::fmt;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use super::{KEPT_BYTES_MAX, TAIL};
use crate::websocket::encode::{FrameBuilder, plain_message};
use crate::websocket::header::RSV1;

/// Compresses one message after the other, each as if it were the first. About 380 KB, however many
/// connections there are: keep a few and lend them out.
pub struct Deflater {
    compress: Compress,
    output: Vec<u8>,
}

impl Deflater {
    /// A compressor of a level from 1, the fastest, to 9, the smallest; what is outside of these counts as
    /// the nearest of them. Its window is the largest, 32 KiB.
    #[must_use]
    pub fn new(level: u32) -> Self {
        Self {
            compress: Compress::new(Compression::new(level.clamp(1, 9)), false),
            output: Vec::new(),
        }
    }

    /// The finished frame of the same message compressed, with RSV1 set; as long as one is shorter. `frame`
    /// is a finished frame as [`frame`](crate::websocket::frame) and
    /// [`FrameBuilder`](crate::websocket::FrameBuilder) make it; control frames are never compressed.
    ///
    /// `None` says that the frame should go out as it is.
    #[must_use]
    pub fn deflate_frame(&mut self, frame: &[u8]) -> Option<Bytes> {
        let (opcode, message) = plain_message(frame)?;
        let deflated = self.deflate(message)?;
        let mut builder = FrameBuilder::with_capacity(deflated.len());
        builder.extend_from_slice(deflated);
        let frame = builder.finish_with(opcode, RSV1);
        self.release();
        Some(frame)
    }

    /// The payload of a message of one frame with RSV1 set (RFC 7692, section 7.2.1), for those who write the
    /// frame themselves. `None` if it would not be shorter than the message.
    pub fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.release();
        self.compress.reset();
        // Room for what is shorter than the message once the tail is off, and for one byte more: zlib is done
        // only when it leaves some room unused. So the output never needs more than the message did.
        let room = message.len().saturating_add(TAIL.len());
        self.output.reserve_exact(room);
        // The vector may have more room than it was asked for, from the message before.
        let status = self
            .compress
            .compress_vec(message, &mut self.output, FlushCompress::Sync);
        let is_shorter = self.output.len() < room && self.output.len() < self.output.capacity();
        let is_whole = self.compress.total_in() == message.len() as u64;
        if !matches!(status, Ok(Status::Ok)) || !is_shorter || !is_whole {
            return None;
        }
        debug_assert!(self.output.ends_with(&TAIL), "a flush ends with the tail");
        self.output.strip_suffix(&TAIL)
    }

    /// Lets go of the last message, and of the memory that a large one took. Every call begins with this;
    /// call it if the next may be long in coming.
    pub fn release(&mut self) {
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES_MAX {
            self.output = Vec::new();
        }
    }
}

impl fmt::Debug for Deflater {
    /// Leaves out what it holds: it is somebody's message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}
