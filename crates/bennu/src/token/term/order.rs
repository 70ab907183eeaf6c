//! The order of terms: Erlang's, as it is between the keys of a map, where 1 and 1.0 are two keys.

use std::cmp::Ordering;

use super::{BigInteger, Term};

impl Term {
    /// Integers, floats, atoms, tuples, maps, lists, binaries.
    fn rank(&self) -> u8 {
        match self {
            Self::Integer(_) | Self::BigInteger(_) => 0,
            Self::Float(_) => 1,
            Self::Atom(_) => 2,
            Self::Tuple(_) => 3,
            Self::Map(_) => 4,
            Self::List(_) => 5,
            Self::Binary(_) => 6,
        }
    }
}

impl Ord for Term {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::BigInteger(a), Self::BigInteger(b)) => a.cmp(b),
            (Self::BigInteger(a), Self::Integer(_)) => a.beside_small(),
            (Self::Integer(_), Self::BigInteger(b)) => b.beside_small().reverse(),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Atom(a), Self::Atom(b)) => a.cmp(b),
            (Self::Tuple(a), Self::Tuple(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (Self::Map(a), Self::Map(b)) => a
                .len()
                .cmp(&b.len())
                .then_with(|| a.keys().cmp(b.keys()))
                .then_with(|| a.values().cmp(b.values())),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            (Self::Binary(a), Self::Binary(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Term {}

impl BigInteger {
    /// How it compares with any integer of 128 bits.
    fn beside_small(&self) -> Ordering {
        if self.negative {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }
}

impl Ord for BigInteger {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.magnitude, &other.magnitude);
        let distance = || {
            a.len()
                .cmp(&b.len())
                .then_with(|| a.iter().rev().cmp(b.iter().rev()))
        };
        match (self.negative, other.negative) {
            (false, false) => distance(),
            (true, true) => distance().reverse(),
            (a, b) => b.cmp(&a),
        }
    }
}

impl PartialOrd for BigInteger {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
