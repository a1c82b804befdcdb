//! Features as data: what they are called, what they mean, and how a [`Profile`] becomes a row of them.

mod catalogue;
mod definition;
mod plan;
pub(crate) mod profile;
pub(crate) mod store;

pub use definition::{Aggregate, Calendar, FeatureDefinition, FeatureSet, KeyKind, MAX_SPAN_SECONDS, Source};
pub use plan::FeaturePlan;
pub use profile::{Needs, Profile, ProfilePlan, WindowSpec, WindowStats};
pub use store::{Label, LabelOutcome, MemoryStore, SnapshotInfo, StoreSettings, StoreStats};
