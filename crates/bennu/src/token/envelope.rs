//! What is around the data of a token: when it was signed, and how old it may become.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use super::options::{MAX_AGE, MaxAge, SignOptions, VerifyOptions};
use super::term::{Atom, Term};
use super::{SignError, VerifyError};

/// The bytes of `{data, signed_at_ms, max_age_s}`.
pub(super) fn seal(data: Term, options: &SignOptions) -> Result<Vec<u8>, SignError> {
    let signed_at = options.signed_at.unwrap_or_else(SystemTime::now);
    let max_age = match options.max_age {
        MaxAge::Infinity => Atom::new("infinity").map_or_else(|_| Term::nil(), Term::Atom),
        MaxAge::Within(age) if age.subsec_nanos() == 0 => Term::from(age.as_secs()),
        MaxAge::Within(age) => Term::from(age.as_secs_f64()),
    };
    let envelope = Term::Tuple(vec![data, Term::from(unix_ms(signed_at)), max_age]);
    Ok(envelope.encode()?)
}

/// The data of an envelope that is not too old.
pub(super) fn open(bytes: &[u8], options: &VerifyOptions) -> Result<Term, VerifyError> {
    let (data, signed_ms, embedded) = take_apart(Term::decode(bytes)?)?;
    let limit = options.max_age.map_or(embedded, Age::from);
    let now_ms = unix_ms(options.now.unwrap_or_else(SystemTime::now));
    check_age(signed_ms, limit, now_ms, options.clock_skew)?;
    Ok(data)
}

/// The age that a token may have.
#[derive(Clone, Copy)]
enum Age {
    Infinity,
    /// Zero or less: never valid.
    Never,
    Milliseconds(i128),
}

impl From<MaxAge> for Age {
    fn from(age: MaxAge) -> Self {
        match age {
            MaxAge::Infinity => Self::Infinity,
            MaxAge::Within(Duration::ZERO) => Self::Never,
            MaxAge::Within(age) => Self::Milliseconds(milliseconds(age)),
        }
    }
}

/// Now, or a form that older versions wrote, without an age.
fn take_apart(term: Term) -> Result<(Term, i128, Age), VerifyError> {
    match term {
        Term::Tuple(elements) => {
            let mut elements = elements.into_iter();
            match (
                elements.next(),
                elements.next(),
                elements.next(),
                elements.next(),
            ) {
                (Some(data), Some(Term::Integer(signed_ms)), None, None) => {
                    Ok((data, signed_ms, MaxAge::from(MAX_AGE).into()))
                }
                (Some(data), Some(Term::Integer(signed_ms)), Some(max_age), None) => {
                    Ok((data, signed_ms, embedded(&max_age)?))
                }
                _ => Err(VerifyError::Shape),
            }
        }
        Term::Map(mut pairs) => {
            let mut take = |name| pairs.remove(&Term::Atom(Atom::new(name).ok()?));
            match (take("data"), take("signed")) {
                (Some(data), Some(Term::Integer(signed_ms))) => {
                    Ok((data, signed_ms, MaxAge::from(MAX_AGE).into()))
                }
                _ => Err(VerifyError::Shape),
            }
        }
        _ => Err(VerifyError::Shape),
    }
}

fn embedded(max_age: &Term) -> Result<Age, VerifyError> {
    match max_age {
        Term::Atom(atom) if atom.as_str() == "infinity" => Ok(Age::Infinity),
        Term::Integer(seconds) if *seconds <= 0 => Ok(Age::Never),
        Term::Integer(seconds) => Ok(Age::Milliseconds(seconds.saturating_mul(1000))),
        Term::Float(seconds) if *seconds <= 0.0 => Ok(Age::Never),
        // The cast cuts off the fraction, and stops at the greatest integer.
        Term::Float(seconds) => Ok(Age::Milliseconds((seconds * 1000.0) as i128)),
        _ => Err(VerifyError::Shape),
    }
}

/// In the order of the reference. Where the age is infinite, so may be the distance to the future.
fn check_age(
    signed_ms: i128,
    limit: Age,
    now_ms: i128,
    clock_skew: Duration,
) -> Result<(), VerifyError> {
    let age = match limit {
        Age::Infinity => return Ok(()),
        Age::Never => return Err(VerifyError::Expired),
        Age::Milliseconds(age) => age,
    };
    if signed_ms > now_ms.saturating_add(milliseconds(clock_skew)) {
        return Err(VerifyError::Invalid);
    }
    match signed_ms.saturating_add(age).cmp(&now_ms) {
        Ordering::Less => Err(VerifyError::Expired),
        _ => Ok(()),
    }
}

/// Milliseconds since 1970, fewer than none before.
fn unix_ms(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}

fn milliseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}
