//! Graphs of numbers over time, of block characters.

use super::text::commas;

/// Eighths of a character's height.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns for the numbers at the side.
const SIDE: u16 = 12;

/// Columns and rows of the terminal; 80 and 24 where they are unknown.
pub(crate) fn terminal_size() -> (u16, u16) {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// How a graph is drawn.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) title: &'a str,
    /// Columns, numbers included.
    pub(crate) width: u16,
    /// Rows, without the title.
    pub(crate) height: u16,
}

impl Graph<'_> {
    /// The text: the newest values stand to the right.
    pub(crate) fn render(&self, values: &[f64]) -> String {
        let columns = usize::from(self.width.saturating_sub(SIDE + 1).max(1));
        let values = &values[values.len().saturating_sub(columns)..];
        let highest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let scale = if highest > 0.0 { f64::from(self.height) * 8.0 / highest } else { 0.0 };
        let mut text = format!("{}\n", self.title);
        for row in (0..self.height).rev() {
            let label = match row {
                0 => "0".to_owned(),
                row if row + 1 == self.height => commas(highest.round() as u64),
                _ => String::new(),
            };
            text += &format!("{label:>width$} ", width = usize::from(SIDE));
            text.extend(values.iter().map(|value| {
                let eighths = (value * scale).round() - f64::from(row) * 8.0;
                BLOCKS[eighths.clamp(0.0, 8.0) as usize]
            }));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_fills_the_height() {
        let text = Graph { title: "T", width: 20, height: 2 }.render(&[0.0, 4.0, 8.0]);
        assert_eq!(text, "T\n           8   █\n           0  ██\n");
        let _ = Graph { title: "", width: 0, height: 0 }.render(&[f64::NAN, f64::INFINITY, -1.0]);
        let _ = Graph { title: "", width: 20, height: 3 }.render(&[f64::NAN, f64::INFINITY, -1.0]);
    }
}
