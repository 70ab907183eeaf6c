//! The external term format: golden bytes, limits, and what is refused.

use std::collections::BTreeMap;
use std::io::Write;

use bennu::token::term::{
    ATOM_CHARS_MAX, DEPTH_MAX, INFLATED_BYTES_MAX, INTEGER_BYTES_MAX, TermDecodeError,
    TermEncodeError,
};
use bennu::token::{Atom, Term};
use proptest::prelude::*;

use crate::text::hex;

pub(crate) fn atom(name: &str) -> Term {
    Term::Atom(Atom::new(name).unwrap())
}

pub(crate) fn tuple(elements: impl IntoIterator<Item = Term>) -> Term {
    Term::Tuple(elements.into_iter().collect())
}

pub(crate) fn list(elements: impl IntoIterator<Item = Term>) -> Term {
    Term::List(elements.into_iter().collect())
}

pub(crate) fn map(pairs: impl IntoIterator<Item = (Term, Term)>) -> Term {
    Term::Map(pairs.into_iter().collect())
}

/// The payloads of the golden tokens: data, signing time, age.
#[test]
fn terms_are_written_and_read_byte_for_byte() {
    let payload = |data| tuple([data, Term::from(1_700_000_000_000_u64), Term::from(86_400)]);
    let table = [
        (Term::from(1), "83680361016e06000068e5cf8b016200015180"),
        (
            Term::from(-5),
            "83680362fffffffb6e06000068e5cf8b016200015180",
        ),
        (
            Term::from("user:42"),
            "8368036d00000007757365723a34326e06000068e5cf8b016200015180",
        ),
        (
            tuple([
                atom("a"),
                list([
                    Term::from(1),
                    Term::from(2.5),
                    Term::nil(),
                    Term::from(true),
                ]),
                list([97, 98, 99].map(Term::from)),
            ]),
            "8368036803640001616c0000000461014640040000000000006400036e696c640004747275656a6b00036162636e06000068e5cf8b016200015180",
        ),
        (
            map([
                (Term::from("id"), Term::from(7)),
                (atom("role"), atom("admin")),
            ]),
            "8368037400000002640004726f6c6564000561646d696e6d00000002696461076e06000068e5cf8b016200015180",
        ),
        (
            Term::from(123_456_789_012_345_678_901_234_567_890_i128),
            "8368036e0d00d20a3f4eeee073c3f60fe98e016e06000068e5cf8b016200015180",
        ),
    ];
    for (data, bytes) in table {
        let term = payload(data);
        assert_eq!(term.encode().unwrap(), hex(bytes), "{term:?}");
        assert_eq!(Term::decode(&hex(bytes)).unwrap(), term);
    }
    let half = tuple([
        Term::from(1),
        Term::from(1_700_000_000_000_u64),
        Term::from(0.5),
    ]);
    let bytes = hex("83680361016e06000068e5cf8b01463fe0000000000000");
    assert_eq!(half.encode().unwrap(), bytes);
    assert_eq!(Term::decode(&bytes).unwrap(), half);
}

/// By the layouts of the format.
#[test]
fn every_form_of_a_value_is_read() {
    let old_float = format!(
        "8363{}{}",
        to_hex(b"2.50000000000000000000e+00"),
        "00".repeat(5)
    );
    let table = [
        ("83 73 01 61", atom("a")),
        ("83 64 0001 e9", atom("é")),
        ("83 76 0002 c3a9", atom("é")),
        ("83 77 03 e282ac", atom("€")),
        (old_float.as_str(), Term::from(2.5)),
        ("83 69 00000001 6101", tuple([Term::from(1)])),
        ("83 6b 0002 6162", list([97, 98].map(Term::from))),
        (
            "83 6c 00000002 6161 6162 6a",
            list([97, 98].map(Term::from)),
        ),
        ("83 6a", list([])),
        ("83 6b 0000", list([])),
        ("83 6e 01 00 05", Term::from(5)),
        ("83 6e 04 01 05000000", Term::from(-5)),
        ("83 6e 00 00", Term::from(0)),
        (
            "83 6f 00000009 01 000000000000000001",
            Term::from(-(1_i128 << 64)),
        ),
        ("83 61 ff", Term::from(255)),
        ("83 62 80000000", Term::from(i32::MIN)),
    ];
    for (bytes, term) in table {
        assert_eq!(Term::decode(&hex(bytes)), Ok(term), "{bytes}");
    }
}

#[test]
fn integers_take_their_smallest_form() {
    let wide = |length: usize| Term::integer(false, &vec![0xff; length]);
    let table = [
        (Term::from(0), "83 61 00"),
        (Term::from(255), "83 61 ff"),
        (Term::from(256), "83 62 00000100"),
        (Term::from(-1), "83 62 ffffffff"),
        (Term::from(i32::MAX), "83 62 7fffffff"),
        (Term::from(i64::from(i32::MAX) + 1), "83 6e 04 00 00000080"),
        (Term::from(i64::from(i32::MIN) - 1), "83 6e 04 01 01000080"),
        (Term::from(u64::MAX), "83 6e 08 00 ffffffffffffffff"),
        (
            Term::from(i128::MIN),
            "83 6e 10 01 00000000000000000000000000000080",
        ),
        (
            Term::from(u128::MAX),
            "83 6e 10 00 ffffffffffffffffffffffffffffffff",
        ),
        (wide(255), &format!("83 6e ff 00 {}", "ff".repeat(255))),
        (
            wide(256),
            &format!("83 6f 00000100 00 {}", "ff".repeat(256)),
        ),
    ];
    for (term, bytes) in table {
        assert_eq!(term.encode().unwrap(), hex(bytes), "{term:?}");
        assert_eq!(Term::decode(&hex(bytes)).unwrap(), term);
    }
    assert_eq!(
        wide(INTEGER_BYTES_MAX + 1).encode(),
        Err(TermEncodeError::Integer)
    );
}

#[test]
fn atoms_are_latin_1_where_they_can_be() {
    assert_eq!(atom("é").encode().unwrap(), hex("83 64 0001 e9"));
    assert_eq!(atom("€").encode().unwrap(), hex("83 77 03 e282ac"));
    let wide = atom(&"€".repeat(ATOM_CHARS_MAX));
    let bytes = hex(&format!("83 76 02fd {}", "e282ac".repeat(255)));
    assert_eq!(wide.encode().unwrap(), bytes);
    assert_eq!(Term::decode(&bytes).unwrap(), wide);
    assert!(Atom::new("a".repeat(256)).is_err());
}

/// Erlang's order: integers, floats, atoms, tuples by size, maps by size, lists, binaries.
#[test]
fn maps_are_written_in_erlangs_order() {
    let keys = [
        Term::integer(true, &[1; 20]),
        Term::from(i128::MIN),
        Term::from(-2),
        Term::from(7),
        Term::from(u128::MAX),
        Term::from(-1.5),
        Term::from(1.0),
        atom("a"),
        atom("b"),
        tuple([]),
        tuple([atom("z")]),
        tuple([Term::from(0), Term::from(0)]),
        map([]),
        map([(atom("a"), Term::from(2))]),
        map([(Term::from("a"), Term::from(1))]),
        list([]),
        list([Term::from(1)]),
        list([Term::from(1), Term::from(0)]),
        list([Term::from(2)]),
        Term::from(""),
        Term::from("a"),
        Term::from("aa"),
        Term::from("b"),
    ];
    for (place, key) in keys.iter().enumerate() {
        for (other_place, other) in keys.iter().enumerate() {
            assert_eq!(key.cmp(other), place.cmp(&other_place), "{key:?} {other:?}");
        }
    }
    let whole: BTreeMap<_, _> = keys
        .iter()
        .rev()
        .map(|k| (k.clone(), Term::nil()))
        .collect();
    let bytes = Term::Map(whole.clone()).encode().unwrap();
    let mut expected = hex(&format!("83 74 {:08x}", keys.len()));
    for key in &keys {
        expected.extend(&key.encode().unwrap()[1..]);
        expected.extend(hex("64 0003 6e696c"));
    }
    assert_eq!(bytes, expected);
    assert_eq!(Term::decode(&bytes).unwrap(), Term::Map(whole));
}

#[test]
fn what_is_no_plain_term_is_refused() {
    use TermDecodeError as E;
    let deep_list = format!("83 {} 6a {}", "6c 00000001".repeat(65), "6a".repeat(65));
    let deep_tuple = format!("83 {} 6a", "68 01".repeat(10_000));
    let table = [
        ("", E::Truncated),
        ("83", E::Truncated),
        ("00 61 01", E::Version),
        ("83 61", E::Truncated),
        ("83 61 01 00", E::Trailing),
        ("83 ff", E::Tag(255)),
        // The lengths of these are only announced.
        ("83 6d ffffffff 00", E::Truncated),
        ("83 6c ffffffff 6101", E::Truncated),
        ("83 69 ffffffff 6101", E::Truncated),
        ("83 74 ffffffff 6101 6101", E::Truncated),
        ("83 6b ffff 61", E::Truncated),
        ("83 6f 00000101 00", E::Integer),
        ("83 6f ffffffff 00", E::Integer),
        ("83 6e 01 02 05", E::Integer),
        ("83 46 7ff0000000000000", E::Float),
        ("83 46 7ff8000000000000", E::Float),
        (
            &format!("8363{}{}", to_hex(b"inf"), "00".repeat(28)),
            E::Float,
        ),
        (&format!("8363{}", "00".repeat(31)), E::Float),
        ("83 64 0100 61", E::Atom),
        ("83 76 0001 ff", E::Atom),
        (&format!("83 76 0100 {}", "61".repeat(256)), E::Atom),
        ("83 6c 00000001 6101 6102", E::Refused("improper lists")),
        ("83 74 00000002 6101 6101 6101 6102", E::DuplicateKey),
        (&deep_list, E::Depth),
        (&deep_tuple, E::Depth),
        ("83 4d 00000001 04 f0", E::Refused("bitstrings")),
        ("83 67", E::Refused("pids")),
        ("83 58", E::Refused("pids")),
        ("83 5a", E::Refused("references")),
        ("83 72", E::Refused("references")),
        ("83 65", E::Refused("references")),
        ("83 59", E::Refused("ports")),
        ("83 66", E::Refused("ports")),
        ("83 78", E::Refused("ports")),
        ("83 70", E::Refused("functions")),
        ("83 71", E::Refused("functions")),
        ("83 75", E::Refused("functions")),
        ("83 79", E::Refused("terms of one runtime")),
        (
            "83 68 01 50",
            E::Refused("compressed terms inside of others"),
        ),
        ("83 68 02 61 01 58", E::Refused("pids")),
    ];
    for (bytes, error) in table {
        assert_eq!(Term::decode(&hex(bytes)), Err(error), "{bytes:.60}");
    }
}

#[test]
fn what_has_no_bytes_is_not_written() {
    let deep = |levels| (0..levels).fold(Term::from(1), |inner, _| tuple([inner]));
    assert!(Term::decode(&deep(DEPTH_MAX).encode().unwrap()).is_ok());
    assert_eq!(deep(DEPTH_MAX + 1).encode(), Err(TermEncodeError::Depth));
    for float in [f64::NAN, f64::INFINITY] {
        assert_eq!(Term::from(float).encode(), Err(TermEncodeError::Float));
    }
}

/// A zlib stream of stored blocks, which needs no compressor.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut chunks = bytes.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        out.push(u8::from(chunks.peek().is_none()));
        out.write_all(&length.to_le_bytes()).unwrap();
        out.write_all(&(!length).to_le_bytes()).unwrap();
        out.write_all(chunk).unwrap();
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in bytes {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.write_all(&(b << 16 | a).to_be_bytes()).unwrap();
    out
}

fn compressed(size: usize, stream: &[u8]) -> Vec<u8> {
    let size = u32::try_from(size).unwrap().to_be_bytes();
    [&[131, 80], size.as_slice(), stream].concat()
}

#[test]
fn compressed_terms_are_read_up_to_their_limit() {
    let binary = |length: usize| {
        let mut plain = vec![109];
        plain.extend(u32::try_from(length).unwrap().to_be_bytes());
        plain.resize(length + 5, b'x');
        plain
    };
    for length in [0, 1, 1000, INFLATED_BYTES_MAX - 5] {
        let plain = binary(length);
        let term = Term::decode(&compressed(plain.len(), &stored(&plain)));
        assert_eq!(term, Ok(Term::Binary(vec![b'x'; length])), "{length}");
    }
    let plain = binary(1000);
    let stream = stored(&plain);
    let too_big = binary(INFLATED_BYTES_MAX);
    for bytes in [
        compressed(too_big.len(), &stored(&too_big)),
        // The size it names is not the size it has.
        compressed(plain.len() - 1, &stream),
        compressed(plain.len() + 1, &stream),
        compressed(0, &stream),
        compressed(u32::MAX as usize, &stream),
        compressed(plain.len(), &stream[..stream.len() - 1]),
        compressed(plain.len(), b"not zlib"),
    ] {
        assert_eq!(Term::decode(&bytes), Err(TermDecodeError::Compressed));
    }
    assert_eq!(Term::decode(&[131, 80, 0]), Err(TermDecodeError::Truncated));
}

/// Half a megabyte that inflates to a hundred, and says that it is small: the work ends at the limit.
#[test]
fn a_zlib_bomb_stops_at_the_limit() {
    let bomb = zeros();
    for size in [1, INFLATED_BYTES_MAX] {
        assert_eq!(
            Term::decode(&compressed(size, &bomb)),
            Err(TermDecodeError::Compressed)
        );
    }
}

/// One deflate block with fixed codes: a zero byte, then "258 bytes from 1 back" again and again, to
/// about 100 MB. Length 258 is the code 11000101, distance 1 the code 00000, so 13 bits each.
fn zeros() -> Vec<u8> {
    let mut bits = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    let back = [true, true, false, false, false, true, false, true]
        .into_iter()
        .chain([false; 5]);
    for _ in 0..400_000 {
        bits.extend(back.clone());
    }
    let bytes = bits.chunks(8).map(|byte| {
        let bit = |(place, &set): (usize, &bool)| u8::from(set) << place;
        byte.iter().enumerate().map(bit).sum::<u8>()
    });
    [0x78, 0x01].into_iter().chain(bytes).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn any_term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        any::<i128>().prop_map(Term::from),
        any::<i32>().prop_map(Term::from),
        any::<u8>().prop_map(Term::from),
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..300))
            .prop_filter("within the limit", |(_, bytes)| bytes.len() <= 256)
            .prop_map(|(negative, bytes)| Term::integer(negative, &bytes)),
        prop::num::f64::NORMAL.prop_map(Term::from),
        "\\PC{0,20}".prop_map(|name| atom(&name)),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Term::Binary),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Term::Tuple),
            prop::collection::vec(inner.clone(), 0..8).prop_map(Term::List),
            prop::collection::btree_map(inner.clone(), inner, 0..8).prop_map(Term::Map),
        ]
    })
}

proptest! {
    #[test]
    fn terms_survive_their_bytes(term in any_term()) {
        prop_assert_eq!(Term::decode(&term.encode().unwrap()), Ok(term));
    }
}
