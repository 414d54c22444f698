//! `stonechat consumer graph`: draws a consumer's activity each second.

use serde_json::Value;

use super::select;
use crate::error::CliError;
use crate::output::{LiveGraphs, Measure};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, info: &Value) -> Result<(), CliError> {
    let (stream, consumer) = select::names(info);
    let title = format!("Consumer Statistics for {stream} > {consumer}");
    let measures = [
        Measure::Level("Messages Pending"),
        Measure::Level("Messages Waiting for Ack"),
        Measure::Rate("Messages Acknowledged / second"),
        Measure::Rate("Messages Delivered / second"),
    ];
    let mut graphs = LiveGraphs::open(title, measures.to_vec())?;
    loop {
        let info = select::info(session, stream, consumer).await?;
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        graphs.draw(&[
            number(&info["num_pending"]),
            number(&info["num_ack_pending"]),
            number(&info["ack_floor"]["consumer_seq"]),
            number(&info["delivered"]["consumer_seq"]),
        ])?;
        graphs.pause().await;
    }
}
