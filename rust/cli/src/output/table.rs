//! Tables that fit the terminal.

use comfy_table::modifiers::UTF8_ROUND_CORNERS;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement};

/// A titled table. Columns whose cells are all numbers stand to the right.
pub(crate) struct Table {
    title: String,
    table: comfy_table::Table,
}

impl Table {
    pub(crate) fn new(title: String, header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(UTF8_FULL_CONDENSED)
            .apply_modifier(UTF8_ROUND_CORNERS)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(header);
        Self { title, table }
    }

    /// Adds a row; cells are texts that a terminal can take.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.table.add_row(cells.into_iter().map(|text| {
            let is_number = text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['-', ':']);
            let alignment = if is_number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(alignment)
        }));
    }

    /// The text, as wide as the terminal at most.
    pub(crate) fn render(&self) -> String {
        format!("{}\n{}\n", self.title, self.table)
    }
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
}
