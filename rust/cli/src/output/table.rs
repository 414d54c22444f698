//! Tables that fit the terminal's width.

use comfy_table::modifiers::UTF8_ROUND_CORNERS;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Width};

/// Characters between the texts of two columns, and of a cell's padding.
const BETWEEN: usize = 3;
const PADDING: usize = 2;

/// A table with a title. Cells that look like numbers are aligned to the right.
pub(crate) struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: String, header: &[&str]) -> Self {
        let header = header.iter().map(|&name| name.to_owned()).collect();
        Self { title, header, rows: Vec::new() }
    }

    /// Adds a row; cells must contain no control characters.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Returns the text, at most as wide as the terminal. On a narrow terminal, columns without any text are left out, and others
    /// are wrapped. Words of the header are broken only if the terminal is too narrow for them.
    pub(crate) fn render(&self) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(UTF8_FULL_CONDENSED)
            .apply_modifier(UTF8_ROUND_CORNERS)
            .set_content_arrangement(ContentArrangement::Dynamic);
        let room = table.width().map_or(usize::MAX, usize::from);
        let columns = self.columns(room);
        table.set_header(columns.iter().map(|&i| &self.header[i]));
        for row in &self.rows {
            table.add_row(columns.iter().map(|&i| {
                let text = row.get(i).map(String::as_str).unwrap_or_default();
                let is_number = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['-', ':']);
                let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(text).set_alignment(alignment)
            }));
        }
        let words: Vec<usize> = columns.iter().map(|&i| longest_word(&self.header[i])).collect();
        if outer_width(&words) <= room {
            for (column, word) in table.column_iter_mut().zip(words) {
                let width = u16::try_from(word + PADDING).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        format!("{}\n{table}\n", self.title)
    }

    /// Returns the columns to show.
    fn columns(&self, room: usize) -> Vec<usize> {
        let all: Vec<usize> = (0..self.header.len()).collect();
        let width = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(i)).chain([&self.header[i]]);
            cells.map(|text| text.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = all.iter().map(|&i| width(i)).collect();
        if self.rows.is_empty() || outer_width(&widths) <= room {
            return all;
        }
        let has_text =
            |i: &usize| self.rows.iter().any(|row| row.get(*i).is_some_and(|text| !text.is_empty()));
        all.into_iter().filter(has_text).collect()
    }
}

/// Returns the width of a table with columns of these widths.
fn outer_width(widths: &[usize]) -> usize {
    widths.iter().map(|width| width + BETWEEN).sum::<usize>() + 1
}

fn longest_word(text: &str) -> usize {
    text.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_title_a_header_and_rows() {
        let mut table = Table::new("Buckets".to_owned(), &["Name", "Values"]);
        table.row(vec!["A".to_owned(), "1,000".to_owned()]);
        table.row(vec!["LONGER".to_owned(), "5".to_owned()]);
        let text = table.render();
        assert!(text.starts_with("Buckets\n╭"), "{text}");
        assert!(text.contains("│ A      ┆  1,000 │") && text.contains("│ LONGER ┆      5 │"), "{text}");
    }

    #[test]
    fn columns_without_text_go_where_room_is_short() {
        let mut table = Table::new(String::new(), &["Name", "Error", "Size"]);
        table.row(vec!["A".to_owned(), String::new(), "5".to_owned()]);
        assert_eq!(table.columns(80), [0, 1, 2]);
        assert_eq!(table.columns(20), [0, 2]);
        // A row that is shorter than the header is padded.
        table.row(vec!["B".to_owned()]);
        assert!(table.render().contains("│ B "));
    }
}
