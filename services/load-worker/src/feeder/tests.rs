use std::fs;

use proptest::prelude::*;

use super::{Feeder, Order};

fn open(name: &str, text: impl AsRef<[u8]>) -> Result<Feeder, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("object");
    fs::write(&path, text).unwrap();
    // The mapping holds the file after its name is gone.
    Feeder::open(name, &path).map_err(|e| format!("{e}; {}", e.mend))
}

fn row(feeder: &Feeder, row: u64, columns: &[&str]) -> Vec<String> {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
    let mut arena = Vec::new();
    feeder.encode(row, &feeder.select(&columns).unwrap(), &mut arena);
    decode(&arena)
}

fn decode(mut arena: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Some((length, rest)) = arena.split_first_chunk() {
        let (value, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        values.push(String::from_utf8(value.to_vec()).unwrap());
        arena = rest;
    }
    values
}

#[test]
fn csv_rows_by_column_name() {
    let feeder =
        open("items.csv", "\u{feff}id,name,note\n1,a,x\r\n2,\"b, \"\"q\"\"\nc\",\n3,d,\"\"\n").unwrap();
    assert_eq!(feeder.rows(), 3);
    assert_eq!(row(&feeder, 0, &["name", "id"]), ["a", "1"]);
    assert_eq!(row(&feeder, 1, &["id", "name", "note"]), ["2", "b, \"q\"\nc", ""]);
    assert_eq!(row(&feeder, 2, &["note", "id"]), ["", "3"]);
}

#[test]
fn json_rows_by_member() {
    let feeder =
        open("u.jsonl", "{\"id\": 7, \"t\": \"a\\nb\", \"o\": {\"x\": [1]}}\n\n{\"id\": 8}\n").unwrap();
    assert_eq!(feeder.rows(), 2);
    assert_eq!(row(&feeder, 0, &["t", "o", "id"]), ["a\nb", "{\"x\": [1]}", "7"]);
    assert_eq!(row(&feeder, 1, &["id", "t"]), ["8", ""]);
}

#[test]
fn each_problem_names_its_place_and_its_mend() {
    let problems = [
        (
            "a.csv",
            "",
            "feeder a.csv: it is empty; the first line names the columns, each further line is a row",
        ),
        (
            "a.csv",
            "id\n",
            "feeder a.csv: it has no row; give it at least one row, or take the feeder out of the scenario",
        ),
        (
            "a.csv",
            "id,n\n1,2\n3\n",
            "feeder a.csv, line 3: 1 columns, expected 2 as in the first line; mend the line",
        ),
        (
            "a.csv",
            "id,id\n1,2\n",
            "feeder a.csv, line 1: column \"id\" is there twice; the first line names each column once",
        ),
        (
            "a.txt",
            "id\n1\n",
            "feeder a.txt: the format \"txt\" is not known; name it .csv, or .jsonl for one JSON object a line",
        ),
        (
            "a.jsonl",
            "\n",
            "feeder a.jsonl: it has no row; give it at least one row, or take the feeder out of the scenario",
        ),
    ];
    for (name, text, expected) in problems {
        assert_eq!(open(name, text).unwrap_err(), expected);
    }
    let bad = open("a.jsonl", "{\"a\": 1}\n[2]\n").unwrap_err();
    assert!(bad.starts_with("feeder a.jsonl, line 2: no JSON object: "), "{bad}");
    let missing = Feeder::open("gone.csv", std::path::Path::new("/nowhere/gone.csv")).unwrap_err();
    assert!(missing.message.starts_with("feeder gone.csv: /nowhere/gone.csv cannot be read: "), "{missing}");
}

#[test]
fn missing_columns_are_named_all_at_once() {
    let feeder = open("a.csv", "id,name\n1,2\n").unwrap();
    let wanted = ["price".to_owned(), "id".to_owned(), "tax".to_owned()];
    let e = feeder.select(&wanted).unwrap_err();
    assert_eq!(e.message, "feeder a.csv: columns price, tax not found; it has id, name");
}

#[test]
fn rows_follow_the_arrival_alone() {
    let feeder = open("a.csv", "id\n1\n2\n3\n").unwrap();
    let rows = |order, seed| (0..300).map(|k| feeder.row_of(order, seed, 1, k)).collect::<Vec<_>>();
    assert_eq!(rows(Order::Sequential, 1), (0..300).map(|k| k % 3).collect::<Vec<_>>());
    assert_eq!(rows(Order::Random, 1), rows(Order::Random, 1));
    assert_ne!(rows(Order::Random, 1), rows(Order::Random, 2));
    let ones = rows(Order::Random, 1).iter().filter(|r| **r == 1).count();
    assert!((70..130).contains(&ones), "{ones} of 300");
}

proptest! {
    #[test]
    fn csv_rows_are_read_as_the_csv_crate_writes_them(
        rows in prop::collection::vec(prop::collection::vec("[a-c,\"\n\r ]{0,6}", 3..=3), 1..12),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["x", "y", "z"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let feeder = open("p.csv", writer.into_inner().unwrap()).unwrap();
        prop_assert_eq!(feeder.rows(), rows.len() as u64);
        for (i, expected) in (0..).zip(&rows) {
            prop_assert_eq!(&row(&feeder, i, &["x", "y", "z"]), expected);
        }
    }
}
