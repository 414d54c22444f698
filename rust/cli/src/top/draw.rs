//! Drawing of the screen.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Sparkline, Table};

use super::args::View;
use super::state::State;
use super::table::{Column, columns, rate};
use crate::output::{bytes, commas, is_colored};

/// Columns for the numbers beside a sparkline.
const LABEL: u16 = 36;

/// Maximum characters of a server's name; a server without a name has its id there.
const NAME: usize = 24;

/// Shortens a text, with an ellipsis at the cut.
fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [title, server, received, sent, tabs, body, footer] = parts.areas(frame.area());
    draw_title(frame, title, state);
    draw_server(frame, server, state);
    draw_rate(frame, received, "in ", state, 0);
    draw_rate(frame, sent, "out", state, 1);
    draw_tabs(frame, tabs, state);
    state.room = usize::from(body.height.saturating_sub(1).max(1));
    match state.details.is_some() {
        true => draw_details(frame, body, state),
        false => draw_table(frame, body, state),
    }
    draw_footer(frame, footer, state);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

/// Returns a style in a colour of the terminal's theme, if colours are on.
fn colored(color: Color) -> Style {
    if is_colored() { Style::new().fg(color) } else { Style::new() }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let Some(figures) = &state.figures else { return };
    let server = &figures.variables;
    let text = format!(
        "{}  {}  up {}  {}",
        shortened(&crate::output::shown(&server.server_name), NAME),
        crate::output::shown(&server.version),
        crate::output::shown(&server.uptime),
        state.source
    );
    let mut spans = vec![Span::styled(text, bold())];
    if state.is_paused {
        spans.push(Span::styled("  PAUSED ", reversed()));
    }
    frame.render_widget(Line::from(spans), area);
}

fn draw_server(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let Some(figures) = &state.figures else { return };
    let server = &figures.variables;
    let mut spans = vec![Span::raw(format!(
        "cpu {:.0} %   memory {}   connections {} of {}   subscriptions {}   ",
        server.cpu,
        bytes(server.mem),
        commas(server.connections),
        commas(server.total_connections),
        commas(server.subscriptions),
    ))];
    let slow = format!("slow {}", commas(server.slow_consumers));
    let style = if server.slow_consumers > 0 {
        colored(Color::Red).add_modifier(Modifier::BOLD)
    } else {
        Style::new()
    };
    spans.push(Span::styled(slow, style));
    frame.render_widget(Line::from(spans), area);
}

/// Draws a rate and its history.
fn draw_rate(frame: &mut Frame<'_>, area: Rect, name: &str, state: &State, index: usize) {
    let [label, graph] = Layout::horizontal([Constraint::Length(LABEL), Constraint::Min(1)]).areas(area);
    let rates = &state.rates[index];
    let last = rates.back().copied().unwrap_or_default() as f64;
    let byte_rate = bytes(state.byte_rates[index] as u64);
    frame.render_widget(Line::raw(format!("{name} {:>12} msgs/s {:>9}/s", rate(last), byte_rate)), label);
    let width = usize::from(graph.width);
    let newest: Vec<u64> = rates.iter().copied().skip(rates.len().saturating_sub(width)).collect();
    frame.render_widget(Sparkline::default().data(newest).style(colored(Color::Green)), graph);
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mut spans = Vec::new();
    for (i, view) in View::ALL.into_iter().enumerate() {
        let style = if view == state.view { reversed() } else { Style::new() };
        spans.push(Span::styled(format!(" {} {} ", i + 1, view.name()), style));
    }
    let filter = &state.order().filter;
    spans.push(Span::raw(format!("  {} rows", commas(state.rows.len() as u64))));
    if !filter.is_empty() && state.typed.is_none() {
        spans.push(Span::raw(format!(" with {:?}", crate::output::shown(filter))));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Returns the number of a view's columns that fit into a width.
pub(super) fn columns_shown(view: View, width: u16) -> usize {
    let mut used = 0;
    let fits = |column: &&Column| {
        used += column.width + 1;
        used <= width + 1
    };
    columns(view).iter().take_while(fits).count().max(1)
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let columns = &columns(state.view)[..columns_shown(state.view, area.width)];
    let widths = columns.iter().map(|column| match column.is_wide {
        true => Constraint::Min(column.width),
        false => Constraint::Length(column.width),
    });
    let order = state.order();
    let cell = |column: &Column, text: String| {
        let alignment = if column.is_number { Alignment::Right } else { Alignment::Left };
        Text::from(text).alignment(alignment)
    };
    let header = columns.iter().enumerate().map(|(i, column)| {
        let text = cell(column, column.title.to_owned());
        match (i == order.column, order.is_reversed) {
            (true, false) => text.style(bold().add_modifier(Modifier::UNDERLINED)),
            (true, true) => text.style(bold().add_modifier(Modifier::UNDERLINED | Modifier::ITALIC)),
            _ => text.style(bold()),
        }
    });
    // Keep the selected row in the middle, except near both ends of the list.
    let last = state.rows.len().saturating_sub(state.room);
    let top = state.selected.saturating_sub(state.room / 2).min(last);
    let rows = state.rows.iter().enumerate().skip(top).take(state.room).map(|(i, row)| {
        let cells = columns.iter().zip(&row.cells).map(|(column, value)| cell(column, value.text()));
        let style = if i == state.selected { reversed() } else { Style::new() };
        ratatui::widgets::Row::new(cells).style(style)
    });
    let header = ratatui::widgets::Row::new(header);
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

fn draw_details(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let Some(details) = &state.details else { return };
    let mut lines = vec![Line::styled(details.title.clone(), bold())];
    lines
        .extend(details.lines.iter().skip(details.top).take(state.room).map(|line| Line::raw(line.as_str())));
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_footer(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = if let Some(typed) = &state.typed {
        Line::raw(format!("filter: {}▏  Enter keeps it, Esc drops it", crate::output::shown(typed)))
    } else if let Some(error) = &state.error {
        Line::styled(error.clone(), colored(Color::Red))
    } else if state.details.is_some() {
        Line::raw("arrows move  Esc goes back")
    } else {
        Line::raw("1-5 Tab view  s sort  r reverse  / filter  Enter details  p pause  q quit")
    };
    frame.render_widget(line, area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_screens_have_fewer_columns() {
        for view in View::ALL {
            assert!(columns_shown(view, 80) >= 5, "{view:?}");
            assert_eq!(columns_shown(view, 0), 1);
            assert_eq!(columns_shown(view, 500), columns(view).len());
        }
    }
}
