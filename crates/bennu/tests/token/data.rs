//! What becomes of Rust's types in terms, and back.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use bennu::token::{Atom, Term};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::terms::{atom, list, map, tuple};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: Option<String>,
    role: Role,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Admin,
    Member(u8),
    Pair(u8, String),
    Guest { until: i64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(u8);

#[track_caller]
fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &T, term: Term) {
    assert_eq!(Term::from_data(data).unwrap(), term);
    assert_eq!(term.into_data::<T>().unwrap(), *data);
}

#[test]
fn data_becomes_the_terms_of_the_table() {
    there_and_back(&true, atom("true"));
    there_and_back(&(), atom("nil"));
    there_and_back(&Unit, atom("nil"));
    there_and_back(&None::<u8>, atom("nil"));
    there_and_back(&Some(5_u8), Term::from(5));
    there_and_back(&i64::MIN, Term::from(i64::MIN));
    there_and_back(&u64::MAX, Term::from(u64::MAX));
    there_and_back(&i128::MIN, Term::from(i128::MIN));
    there_and_back(&u128::MAX, Term::from(u128::MAX));
    there_and_back(&2.5_f64, Term::from(2.5));
    there_and_back(&2.5_f32, Term::from(2.5));
    there_and_back(&'é', Term::from("é"));
    there_and_back(&"text".to_owned(), Term::from("text"));
    there_and_back(&vec![97_u8, 98], list([97, 98].map(Term::from)));
    there_and_back(&Vec::<u8>::new(), list([]));
    there_and_back(
        &(1_u8, "a".to_owned()),
        tuple([Term::from(1), Term::from("a")]),
    );
    there_and_back(&[1_u8, 2], tuple([Term::from(1), Term::from(2)]));
    there_and_back(&Wrapped(3), Term::from(3));
    there_and_back(&Atom::new("nil").unwrap(), atom("nil"));
    there_and_back(
        &BTreeMap::from([(1_u8, "a".to_owned())]),
        map([(Term::from(1), Term::from("a"))]),
    );
    there_and_back(
        &HashMap::from([("k".to_owned(), vec![Some(1_i8), None])]),
        map([(Term::from("k"), list([Term::from(1), Term::nil()]))]),
    );
    there_and_back(&Role::Admin, Term::from("admin"));
    there_and_back(
        &Role::Member(1),
        map([(Term::from("member"), Term::from(1))]),
    );
    let pair = tuple([Term::from(1), Term::from("b")]);
    there_and_back(
        &Role::Pair(1, "b".into()),
        map([(Term::from("pair"), pair)]),
    );
    let until = map([(Term::from("until"), Term::from(9))]);
    there_and_back(
        &Role::Guest { until: 9 },
        map([(Term::from("guest"), until)]),
    );
    there_and_back(
        &User {
            id: 7,
            name: None,
            role: Role::Admin,
        },
        map([
            (Term::from("id"), Term::from(7)),
            (Term::from("name"), Term::nil()),
            (Term::from("role"), Term::from("admin")),
        ]),
    );
}

#[test]
fn what_elixir_writes_is_read_as_well() {
    let user = map([
        (atom("id"), Term::from(7)),
        (atom("name"), Term::from("Ada")),
        (atom("role"), tuple([atom("member"), Term::from(2)])),
        (atom("unknown"), atom("ignored")),
    ]);
    let expected = User {
        id: 7,
        name: Some("Ada".into()),
        role: Role::Member(2),
    };
    assert_eq!(user.into_data::<User>().unwrap(), expected);
    let pair = tuple([atom("pair"), Term::from(1), Term::from("b")]);
    assert_eq!(pair.into_data::<Role>().unwrap(), Role::Pair(1, "b".into()));
    assert_eq!(atom("admin").into_data::<Role>().unwrap(), Role::Admin);
    assert_eq!(atom("admin").into_data::<String>().unwrap(), "admin");
    assert_eq!(Term::from(3).into_data::<f64>().unwrap(), 3.0);
    let keyword = list([tuple([atom("a"), Term::from(1)])]);
    assert_eq!(
        keyword.into_data::<Vec<(Atom, u8)>>().unwrap(),
        [(Atom::new("a").unwrap(), 1)]
    );
    let short = list([Term::from(1), Term::from(2)]);
    assert_eq!(short.into_data::<(u8, u8)>().unwrap(), (1, 2));
    let json = map([(
        atom("a"),
        list([Term::nil(), Term::from(1.5), Term::from("x")]),
    )]);
    assert_eq!(
        json.into_data::<serde_json::Value>().unwrap(),
        json!({"a": [null, 1.5, "x"]})
    );
}

#[test]
fn an_atom_is_text_in_other_formats() {
    let text = serde_json::to_string(&Atom::new("a").unwrap()).unwrap();
    assert_eq!(text, r#""a""#);
    assert_eq!(serde_json::from_str::<Atom>(&text).unwrap().as_str(), "a");
}

#[test]
fn what_does_not_fit_says_so_and_quotes_nothing() {
    #[track_caller]
    fn refused<T: DeserializeOwned + Debug>(term: Term, text: &str) {
        assert_eq!(term.into_data::<T>().unwrap_err().to_string(), text);
    }
    refused::<u8>(Term::from("secret"), "found text, expected u8");
    refused::<String>(Term::from(7777), "found an integer, expected a string");
    refused::<String>(Term::nil(), "found nil, expected a string");
    refused::<u8>(
        Term::from(7777),
        "an integer of another value than expected: u8",
    );
    refused::<i128>(
        Term::integer(false, &[1; 17]),
        "the integer has more than 128 bits",
    );
    refused::<Atom>(
        Term::from("secret"),
        "found another value, expected an atom",
    );
    refused::<Vec<u8>>(tuple([]), "found a tuple, expected a list");
    refused::<(u8, u8)>(
        tuple([1, 2, 3].map(Term::from)),
        "invalid length 3, expected a tuple of size 2",
    );
    refused::<Role>(
        Term::from("secret"),
        r#"unknown variant, expected one of ["admin", "member", "pair", "guest"]"#,
    );
    refused::<Role>(
        Term::from(1),
        "found another value, expected the name of a variant",
    );
    refused::<Role>(
        map([]),
        "found another value, expected the name of a variant",
    );
    refused::<Role>(
        map([(Term::from("admin"), Term::from(1))]),
        "found data, expected a variant without",
    );
    refused::<Role>(
        Term::from("member"),
        "found a value of another kind, expected a variant with data",
    );
    refused::<User>(map([]), "missing field `id`");
    let twice = map([
        (atom("id"), Term::from(1)),
        (Term::from("id"), Term::from(2)),
    ]);
    refused::<User>(twice, "duplicate field `id`");
    assert!(Term::from_data(&vec![Atom::new("a").unwrap()]).is_ok());
}
