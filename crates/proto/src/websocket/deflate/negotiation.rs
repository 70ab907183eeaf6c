//! The offer of a client and our answer: RFC 6455, section 9.1, and RFC 7692, sections 5 and 7.1.

/// The longest `Sec-WebSocket-Extensions` that is read, all its lines together, in bytes. Browsers send some
/// fifty. A longer one offers nothing.
pub const EXTENSIONS_BYTES_MAX: usize = 1024;

const NAME: &[u8] = b"permessage-deflate";

/// The window of our compressor, in bits (section 7.1.2.1).
const SERVER_WINDOW_BITS: u8 = 15;

/// The longest value that a parameter of ours has: `15`.
const VALUE_BYTES_MAX: usize = 2;

/// An offer that is accepted. All of them come to the same on the wire: no context takeover in either
/// direction, and windows of up to 32 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The offer limits our window, to what it is anyway, and wants to read that.
    names_window: bool,
}

impl Agreement {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn response(self) -> &'static str {
        // `client_no_context_takeover` needs no offer (section 7.1.1.2). The client's window is left to it.
        if self.names_window {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
        } else {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        }
    }
}

/// Reads the lines of `Sec-WebSocket-Extensions` and accepts the first offer of permessage-deflate that can be
/// accepted. `None`: the answer has no extension, and the connection no compression.
///
/// An offer is declined if it has a parameter that is unknown, comes twice, or has a value that the parameter
/// does not take (section 7); and if it wants a window of ours below 15 bits: frames are shared by all
/// connections, so there is one window for all. Other extensions are passed over. A line that is not written
/// as section 9.1 of RFC 6455 has it offers nothing.
#[must_use]
pub fn negotiate<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Agreement> {
    let mut bytes = 0_usize;
    let mut agreement = None;
    for line in lines {
        // A comma between two lines counts as well, so that no number of empty ones is for free.
        bytes = bytes.saturating_add(line.len()).saturating_add(1);
        if bytes > EXTENSIONS_BYTES_MAX {
            return None;
        }
        if agreement.is_none() {
            agreement = Cursor(line).read_line().flatten();
        }
    }
    agreement
}

/// What is left to read of a line.
struct Cursor<'a>(&'a [u8]);

/// The value of a parameter, without quotes and escapes; too long for any of ours, if it does not fit.
#[derive(Default)]
struct Value {
    bytes: [u8; VALUE_BYTES_MAX],
    len: usize,
}

/// The parameters of one offer of permessage-deflate, so far.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: bool,
    declined: bool,
}

impl<'a> Cursor<'a> {
    /// The first offer in the line that is acceptable. `None` outside: the line is malformed.
    fn read_line(mut self) -> Option<Option<Agreement>> {
        let mut agreement = None;
        loop {
            self.skip_blanks();
            // Empty elements of a list are to be ignored (RFC 9110, section 5.6.1).
            if !self.is_at_end() && self.0.first() != Some(&b',') {
                let offered = self.read_extension()?;
                agreement = agreement.or(offered);
            }
            if self.is_at_end() {
                return Some(agreement);
            }
            self.take(b',').then_some(())?;
        }
    }

    fn read_extension(&mut self) -> Option<Option<Agreement>> {
        let is_ours = self.token()? == NAME;
        let mut offer = Offer::default();
        self.skip_blanks();
        while self.take(b';') {
            self.skip_blanks();
            let name = self.token()?;
            self.skip_blanks();
            let value = if self.take(b'=') {
                self.skip_blanks();
                Some(self.value()?)
            } else {
                None
            };
            self.skip_blanks();
            offer.add(name, value.as_ref());
        }
        Some(if is_ours { offer.agreement() } else { None })
    }

    fn value(&mut self) -> Option<Value> {
        let mut value = Value::default();
        if !self.take(b'"') {
            self.token()?.iter().for_each(|byte| value.push(*byte));
            return Some(value);
        }
        loop {
            match self.next()? {
                b'"' => return Some(value),
                b'\\' => value.push(self.next()?),
                byte => value.push(byte),
            }
        }
    }

    /// At least one character of a token (RFC 9110, section 5.6.2).
    fn token(&mut self) -> Option<&'a [u8]> {
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let end = self.0.iter().position(|byte| !is_token(byte));
        let (token, rest) = self.0.split_at_checked(end.unwrap_or(self.0.len()))?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip_blanks(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// 8 to 15, without leading zeros (section 7.1.2).
    fn window_bits(&self) -> Option<u8> {
        match (self.bytes, self.len) {
            ([digit @ b'8'..=b'9', _], 1) => Some(digit - b'0'),
            ([b'1', digit @ b'0'..=b'5'], 2) => Some(10 + digit - b'0'),
            _ => None,
        }
    }
}

impl Offer {
    /// Takes one parameter in, and declines the offer if it is not as section 7.1 has it.
    fn add(&mut self, name: &[u8], value: Option<&Value>) {
        let fits = match (name, value) {
            (b"server_no_context_takeover", None) => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (b"client_no_context_takeover", None) => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (b"server_max_window_bits", Some(value)) => {
                let before =
                    std::mem::replace(&mut self.server_max_window_bits, value.window_bits());
                before.is_none() && self.server_max_window_bits.is_some()
            }
            (b"client_max_window_bits", value) => {
                let is_valid = value.is_none_or(|value| value.window_bits().is_some());
                !std::mem::replace(&mut self.client_max_window_bits, true) && is_valid
            }
            _ => false,
        };
        self.declined |= !fits;
    }

    fn agreement(&self) -> Option<Agreement> {
        let fits = self
            .server_max_window_bits
            .is_none_or(|bits| bits >= SERVER_WINDOW_BITS);
        (fits && !self.declined).then_some(Agreement {
            names_window: self.server_max_window_bits.is_some(),
        })
    }
}
