//! Rows of a CSV file (RFC 4180: quotes, quotes doubled inside quotes, line breaks inside quotes).

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::{FeederError, put};

/// Columns, and where each row lies.
type Index = (Vec<String>, Vec<(u64, u32)>);

pub(super) fn index(name: &str, bytes: &[u8]) -> Result<Index, FeederError> {
    let malformed = |line: u64, what: String| {
        FeederError::new(format!("feeder {name}, line {line}: {what}"), "mend the line")
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map_or((0, bytes), |rest| (3, rest));
    let (skipped, bytes) = bytes;
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::None).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    loop {
        let more =
            reader.read_byte_record(&mut record).map_err(|e| malformed(reader_line(&e), e.to_string()))?;
        if !more {
            break;
        }
        let Some(start) = record.position().cloned() else { continue };
        if columns.is_empty() {
            columns = names(name, &record)?;
            continue;
        }
        if record.len() != columns.len() {
            let (found, expected) = (record.len(), columns.len());
            return Err(malformed(
                start.line(),
                format!("{found} columns, expected {expected} as in the first line"),
            ));
        }
        // The reader leaves the second half of a CRLF, and empty lines, to the next record.
        let end = reader.position().byte();
        let raw = bytes.get(start.byte() as usize..end as usize).unwrap_or_default();
        let length = raw.len() - raw.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let length =
            u32::try_from(length).map_err(|_| malformed(start.line(), "the row is over 4 GiB".to_owned()))?;
        rows.push((skipped + end - u64::from(length), length));
    }
    if columns.is_empty() {
        return Err(FeederError::new(
            format!("feeder {name}: it is empty"),
            "the first line names the columns, each further line is a row",
        ));
    }
    Ok((columns, rows))
}

fn reader_line(e: &csv::Error) -> u64 {
    e.position().map_or(1, csv::Position::line)
}

fn names(name: &str, record: &ByteRecord) -> Result<Vec<String>, FeederError> {
    let problem = |what: String| {
        FeederError::new(format!("feeder {name}, line 1: {what}"), "the first line names each column once")
    };
    let mut columns: Vec<String> = Vec::with_capacity(record.len());
    for (i, field) in (1..).zip(record) {
        let column = std::str::from_utf8(field)
            .map_err(|_| problem(format!("column {i} has a name that is not UTF-8")))?;
        let column = column.trim();
        if column.is_empty() {
            return Err(problem(format!("column {i} has no name")));
        }
        if columns.iter().any(|have| have == column) {
            return Err(problem(format!("column {column:?} is there twice")));
        }
        columns.push(column.to_owned());
    }
    Ok(columns)
}

/// Cuts the line anew: it was checked when it was indexed.
pub(super) fn encode(line: &[u8], selection: &[u32], arena: &mut Vec<u8>) {
    for wanted in selection {
        let mut rest = line;
        for _ in 0..*wanted {
            rest = after_field(rest);
        }
        put_field(rest, arena);
    }
}

/// The length of the field at the begin, as it stands in the file, and whether it is quoted.
fn field(bytes: &[u8]) -> (usize, bool) {
    if bytes.first() != Some(&b'"') {
        let end = bytes.iter().position(|b| matches!(b, b',' | b'\n' | b'\r')).unwrap_or(bytes.len());
        return (end, false);
    }
    let mut i = 1;
    while let Some(b) = bytes.get(i) {
        i += 1;
        if *b == b'"' {
            if bytes.get(i) == Some(&b'"') {
                i += 1;
            } else {
                break;
            }
        }
    }
    // What stands between the closing quote and the comma belongs to the field, as the reader has it.
    let tail = bytes.get(i..).unwrap_or_default();
    (i + tail.iter().position(|b| matches!(b, b',' | b'\n' | b'\r')).unwrap_or(tail.len()), true)
}

fn after_field(bytes: &[u8]) -> &[u8] {
    bytes.get(field(bytes).0 + 1..).unwrap_or_default()
}

fn put_field(bytes: &[u8], arena: &mut Vec<u8>) {
    let (length, quoted) = field(bytes);
    let raw = bytes.get(..length).unwrap_or_default();
    if !quoted {
        put(arena, raw);
        return;
    }
    let at = arena.len();
    put(arena, &[]);
    let mut inside = true;
    let mut i = 1;
    while let Some(b) = raw.get(i) {
        i += 1;
        if inside && *b == b'"' {
            if raw.get(i) == Some(&b'"') {
                i += 1;
            } else {
                inside = false;
                continue;
            }
        }
        arena.push(*b);
    }
    let length = (arena.len() - at - 4) as u32;
    if let Some(slot) = arena.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_le_bytes());
    }
}
