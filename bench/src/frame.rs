//! RFC 6455 frames, the client's side: masked frames out, unmasked frames in. No reassembly: a Phoenix server does not fragment what
//! it sends, so a fragment is a fault. Messages inside the frames are `message.rs`.

/// The mask of every frame that we send. The standard asks for a fresh random one, to protect careless proxies; none stands between
/// us and the server, which must unmask all the same.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// No server under test has reason to send a larger frame.
const PAYLOAD_BYTES_MAX: u64 = 16 << 20;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A message in JSON.
    Text,
    /// A message in the binary layout.
    Binary,
    /// The connection is to be closed.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// One whole frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is for.
    pub opcode: Opcode,
    /// What it carries.
    pub payload: &'a [u8],
    /// How many bytes it took on the wire, header included.
    pub size: usize,
}

impl Frame<'_> {
    /// The code of a close frame; 1005 stands for a close without one.
    pub fn close_code(&self) -> u16 {
        match self.payload {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => 1005,
        }
    }
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// FIN is not set, or the frame continues another.
    #[error("a fragmented message")]
    Fragment,
    /// A reserved bit is set although no extension was negotiated.
    #[error("reserved bits without an extension")]
    ReservedBits,
    /// The opcode is not defined.
    #[error("unknown opcode {0:#x}")]
    Opcode(u8),
    /// A server must not mask.
    #[error("a masked frame from a server")]
    Masked,
    /// The length is not in its shortest form.
    #[error("a length that is not in its shortest form")]
    LongLength,
    /// A control frame over 125 bytes, or a close frame with one byte.
    #[error("a control frame of a forbidden size")]
    ControlSize,
    /// Longer than any server under test should send.
    #[error("a frame of {0} bytes")]
    TooLong(u64),
}

/// Reads one frame off the front of `input`; `None` if it is not all there yet.
pub fn parse(input: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let &[first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0 => return Err(FrameError::Fragment),
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        other => return Err(FrameError::Opcode(other)),
    };
    if first & 0x80 == 0 {
        return Err(FrameError::Fragment);
    }
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let (header, length) = match (second, rest) {
        (126, &[a, b, ..]) => (4, u64::from(u16::from_be_bytes([a, b]))),
        (127, &[a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, u64::from(short)),
    };
    if (header == 4 && length < 126) || (header == 10 && length <= u64::from(u16::MAX)) {
        return Err(FrameError::LongLength);
    }
    let control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
    if control && (length > 125 || (opcode == Opcode::Close && length == 1)) {
        return Err(FrameError::ControlSize);
    }
    if length > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let size = header + length as usize;
    Ok(input.get(header..size).map(|payload| Frame {
        opcode,
        payload,
        size,
    }))
}

/// Appends a masked text frame.
pub fn write_text(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x81, payload);
}

/// Appends a masked close frame.
pub fn write_close(out: &mut Vec<u8>, code: u16) {
    write(out, 0x88, &code.to_be_bytes());
}

/// Appends a masked ping.
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x89, payload);
}

/// Appends a masked fragment of a text message that goes on: its first one or a later one.
pub fn write_fragment(out: &mut Vec<u8>, is_first: bool, payload: &[u8]) {
    write(out, u8::from(is_first), payload);
}

/// Appends a masked pong.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8]) {
    write(out, 0x8a, payload);
}

fn write(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(short as u8),
            middle @ 126..=0xffff => {
                bytes.push(126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn reads_every_length_form_and_waits_for_the_rest() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; length];
            let bytes = server_frame(0x81, &payload);
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                if cut < bytes.len() {
                    assert_eq!(
                        parse(&bytes[..cut]),
                        Ok(None),
                        "length {length}, cut at {cut}"
                    );
                }
            }
            let mut followed = bytes.clone();
            followed.extend([0x81, 0x01, b'y']);
            let frame = parse(&followed).unwrap().unwrap();
            assert_eq!(
                (frame.opcode, frame.payload, frame.size),
                (Opcode::Text, payload.as_slice(), bytes.len())
            );
        }
    }

    #[test]
    fn refuses_what_a_server_must_not_send() {
        let cases: [(&[u8], FrameError); 11] = [
            (&[0x01, 0x00], FrameError::Fragment),
            (&[0x80, 0x00], FrameError::Fragment),
            (&[0xc1, 0x00], FrameError::ReservedBits),
            (&[0x83, 0x00], FrameError::Opcode(3)),
            (&[0x8b, 0x00], FrameError::Opcode(11)),
            (&[0x81, 0x80, 0, 0, 0, 0], FrameError::Masked),
            (&[0x81, 126, 0, 125], FrameError::LongLength),
            (
                &[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                FrameError::LongLength,
            ),
            (&[0x89, 126, 0, 126], FrameError::ControlSize),
            (&[0x88, 1, 3], FrameError::ControlSize),
            (
                &[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0],
                FrameError::TooLong(1 << 56),
            ),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn close_codes() {
        let coded = server_frame(0x88, &1000u16.to_be_bytes());
        assert_eq!(parse(&coded).unwrap().unwrap().close_code(), 1000);
        let bare = server_frame(0x88, &[]);
        assert_eq!(parse(&bare).unwrap().unwrap().close_code(), 1005);
    }

    #[test]
    fn writes_the_example_of_the_standard() {
        // RFC 6455, 5.7: a single-frame masked text message "Hello".
        let mut out = Vec::new();
        write_text(&mut out, b"Hello");
        assert_eq!(
            out,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
    }

    #[test]
    fn writes_every_length_form() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            write_text(&mut out, &vec![0; length]);
            assert_eq!(out.len(), header + 4 + length);
        }
    }
}
