//! Plain tables for the terminal.

/// Rows under a head, columns as wide as their widest cell; the first column to the left, the others to the right.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    lay_out(head, rows, |column| column == 0)
}

/// The same with every column to the left, for words.
pub(crate) fn left(head: &[&str], rows: &[Vec<String>]) -> String {
    lay_out(head, rows, |_| true)
}

fn lay_out(head: &[&str], rows: &[Vec<String>], left: impl Fn(usize) -> bool) -> String {
    let columns = head.len();
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column: usize| {
        let longest = rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        longest.max(head.get(column).map_or(0, |text| text.chars().count()))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| {
                let text = cell(cells, column);
                let gap = " ".repeat(width - text.chars().count());
                if left(column) { format!("{text}{gap}") } else { format!("{gap}{text}") }
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&head.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["idle".to_owned(), "0".to_owned()], vec!["µs".to_owned(), "1 000".to_owned()]];
        assert_eq!(super::render(&["phase", "n"], &rows), "phase      n\nidle       0\nµs     1 000\n");
    }
}
