//! What a run leaves behind.

mod page;
mod record;
#[cfg(test)]
pub(crate) mod testing;
mod text;

pub use page::page;
pub use record::{
    Detection, DrillRecord, Ends, Event, PhaseRecord, Plan, PlannedPhase, QUANTILES, Quantile, Record, Sample, Second,
    Summary, Verdict, asked_at, milliseconds,
};
pub use text::{plan_text, summary_text};
