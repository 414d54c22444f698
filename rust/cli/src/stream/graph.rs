//! `stonechat stream graph`: draws a stream's activity each second.

use super::select;
use crate::error::CliError;
use crate::output::{LiveGraphs, Measure};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, stream: &str) -> Result<(), CliError> {
    let measures = [
        Measure::Level("Messages Stored"),
        Measure::Rate("Messages Removed / second"),
        Measure::Rate("Messages Stored / second"),
    ];
    let mut graphs = LiveGraphs::open(format!("Stream Statistics for {stream}"), measures.to_vec())?;
    loop {
        let info = select::info(session, stream).await?;
        let number = |name: &str| info["state"][name].as_f64().unwrap_or_default();
        graphs.draw(&[number("messages"), number("first_seq"), number("last_seq")])?;
        graphs.pause().await;
    }
}
