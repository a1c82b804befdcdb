//! What a run leaves behind.

mod page;
mod record;
mod text;
#[cfg(test)]
pub(crate) mod testing;

pub use record::{
    Detection, DrillRecord, Ends, Event, PhaseRecord, Plan, PlannedPhase, QUANTILES, Quantile, Record, Sample, Second, Summary, Verdict, asked_at,
    milliseconds,
};
pub use page::page;
pub use text::{plan_text, summary_text};
